"""What bad input gets: one line that says what was given and what is allowed, status 2, and nothing written.

Faults that show only at work (an image that cannot be decoded) end with status 1 and keep finished rows.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.board.build import LEADERBOARD_SCHEMA
from harness.records import rows
from tests.harness.small import RECIPE, call, command, images, one_line, png, write_dataset

NAMES: dict[str, tuple[list[str], list[str]]] = {
    "dataset": (["--dataset", "cifar10O"], ["dataset 'cifar10O'", "allowed: cifar10", "embedded"]),
    "dataset folder": (["--dataset", "no/such/folder"], ["no such data folder: no/such/folder"]),
    "data dir": (["--dataset", "cifar100", "--data-dir", "no-such"], ["no such data folder: no-such"]),
    "lists without a folder": (["--dataset", "places_lt"], ["places_lt needs --data-dir", "Places_LT_train.txt"]),
    "method": (["--methods", "softmax", "sadee"], ["method 'sadee'", "allowed: sade,", "balpoe"]),
    "adapter": (["--adapters", "oracle"], ["adapter 'oracle'", "oracle_prior", "sade"]),
    "shift": (["--shift", "backwards_lt"], ["shift 'backwards_lt'", "allowed: backward_lt,", "uniform"]),
    "shift in full": (["--shift", "backwardlt-50"], ["'backwardlt'", "allowed: backward_lt,"]),
    "recipe": (["--recipe", "publisched"], ["recipe 'publisched'", "allowed: published,", "quick"]),
    "option key": (["--methods", "sade:tua=3"], ["option of sade 'tua'", "allowed: tau"]),
    "option of none": (["--methods", "softmax:tau=3"], ["softmax takes no options", "'tau'"]),
    "option value": (["--methods", "sade:tau=high"], ["tau='high'", "float"]),
    "option without value": (["--methods", "sade:tau"], ["'tau' of 'sade:tau'", "key=value"]),
    "option twice": (["--methods", "sade:tau=1,tau=2"], ["'tau' is given twice"]),
    "option not finite": (["--methods", "sade:tau=nan"], ["tau='nan'", "not finite"]),
    "option impossible": (["--methods", "sade:tau=5000"], ["sade:tau=5000", "prior"]),
    "adapter option": (["--adapters", "sade:objective=iner"], ["objective 'iner'", "allowed: inner, cosine"]),
    "adapter range": (["--adapters", "sade:epochs=0"], ["epochs must be at least 1, not 0"]),
    "recipe factor": (["--recipe", "published-xl"], ["'published-xl'", "published-x0.1"]),
    "recipe factor 0": (["--recipe", "published-x0"], ["F > 0"]),
    "unknown argument": (["--adapter", "mean"], ["--adapter mean", "--help"]),
    "device": (["--device", "gpu"], ["'gpu'", "auto", "cpu", "cuda"]),
    "profile": (["--profile", "expo"], ["'expo'", "exp", "pareto"]),
    "draw rule": (["--draw-rule", "random"], ["'random'", "seeded-shuffle", "first-n"]),
}
NUMBERS: dict[str, tuple[list[str], list[str]]] = {
    "imbalance below 1": (["--imbalance", "0.5"], ["--imbalance", "'0.5'", ">= 1"]),
    "imbalance no number": (["--imbalance", "abc"], ["'abc'", "number >= 1"]),
    "imbalance infinite": (["--imbalance", "50", "inf"], ["'inf'", "finite"]),
    "imbalance too high": (["--imbalance", "100"], ["ratio 100 ", "class 0 (0)", "highest possible is 60"]),
    "forward too high": (["--shift", "forward_lt-61"], ["ratio 61", "class 3 (3)", "highest possible is 60"]),
    "train imbalance too high": (["--train-imbalance", "61"], ["train imbalance 61", "class 3 (3)", "possible is 60"]),
    "train imbalance below 1": (["--train-imbalance", "0.1"], ["'0.1'", ">= 1", "natural"]),
    "train imbalance no number": (["--train-imbalance", "none"], ["'none'", ">= 1", "natural"]),
    "no alpha": (["--shift", "dirichlet"], ["dirichlet needs its alpha", "dirichlet-0.1-s7"]),
    "ratio for uniform": (["--shift", "uniform-3"], ["uniform takes no ratio", "3"]),
    "unreadable shift": (["--shift", "backward_lt-x"], ["'backward_lt-x'", "its form is backward_lt-50"]),
    "seeds": (["--seeds", "0", "one"], ["--seeds", "'one'", "whole number"]),
    "negative seed": (["--seeds", "-1"], ["'-1'", "0..4294967295"]),
    "views": (["--views", "-1"], ["--views", "'-1'", ">= 0"]),
    "redraws": (["--redraws", "2.5"], ["--redraws", "'2.5'", "whole number"]),
    "jobs alone": (["--jobs"], ["--jobs", "--dry-run"]),
    "list file": (["--shift-list", "no-such.txt"], ["no-such.txt", "No such file"]),
    "custom file": (["--shift", "custom-no-such.json"], ["no-such.json", "No such file"]),
    "columns": (["--image-column", "picture"], ["no column 'picture'", "--image-column", "image, label"]),
    "label column": (["--label-column", "fine"], ["no column 'fine'", "--label-column", "image, label"]),
}


def refused(tmp_path: Path, *arguments: object) -> str:
    """Run the command; it must end with status 2 and one line, and leave no results folder."""
    results = tmp_path / "results"
    result = call("--device", "cpu", *arguments, "--results", results)
    assert result.status == 2, result
    line = one_line(result.err)
    assert line.startswith("error: ")
    assert result.out == ""
    assert not results.exists()
    return line


def test_evidence_files(tmp_path: Path) -> None:
    line = refused(tmp_path, "--evidence", "no-such.safetensors")
    assert "no-such.safetensors" in line
    assert "does not exist" in line


@pytest.mark.parametrize(
    "option", [["--methods", "sade"], ["--recipe", "published"], ["--seeds", "1"], ["--views", "1"]]
)
def test_options_about_our_models_beside_evidence(tmp_path: Path, option: list[str]) -> None:
    assert option[0] in refused(tmp_path, "--evidence", "any.safetensors", *option)


@pytest.mark.parametrize("case", NAMES)
def test_names(tmp_path: Path, recipe: Path, case: str) -> None:
    arguments, said = NAMES[case]
    line = refused(tmp_path, "--recipe", recipe, *arguments)
    for part in said:
        assert part in line


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_and_files(tmp_path: Path, data: Path, recipe: Path, case: str) -> None:
    arguments, said = NUMBERS[case]
    line = refused(tmp_path, "--dataset", data, "--train-imbalance", "10", "--recipe", recipe, *arguments)
    for part in said:
        assert part in line


EARLY = {
    **{name: arguments for name, (arguments, _) in NAMES.items() if name not in ("dataset", "dataset folder")},
    "imbalance": ["--imbalance", "0.5"],
    "device": ["--device", "cuda"],
    "list file": ["--shift-list", "no-such.txt"],
    "custom file": ["--shift", "uniform", "custom-no-such.json"],
    "adapter of label sets": ["--dataset", "embedded_mosaics", "--adapters", "sade"],
    "shift of label sets": ["--dataset", "embedded_mosaics", "--shift", "uniforn"],
}
DATA_FIRST = ("data dir", "lists without a folder", "option impossible", "draw rule")
"""What is known to be wrong once the data, or their folder, are looked at; or by the parser of arguments."""


@pytest.mark.parametrize("case", [case for case in EARLY if case not in DATA_FIRST])
def test_names_are_checked_before_any_data_is_read(
    tmp_path: Path, recipe: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from shifts.sets import request

    loads: list[object] = []
    monkeypatch.setattr(request, "load", lambda *given, **named: loads.append(given))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(tmp_path, "--recipe", recipe, *EARLY[case])
    assert not loads


@pytest.mark.parametrize("module", ["harness.sweep", "harness.route", "harness.estimate"])
@pytest.mark.parametrize(
    ("wrong", "said"), [(["--shift", "bakward_lt"], "backward_lt"), (["--methods", "sad"], "sade")]
)
def test_studies_check_names_before_any_data_is_read(
    tmp_path: Path, module: str, wrong: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shifts.sets import request

    loads: list[object] = []
    monkeypatch.setattr(request, "load", lambda *given, **named: loads.append(given))
    result = call(*wrong, "--results", tmp_path / "results", module=module)
    assert result.status == 2
    assert said in one_line(result.err)
    assert not loads


RECIPES: dict[str, tuple[str, list[str]]] = {
    "unknown key": ("epoch = 3", ["'epoch'", "allowed: epochs,", "backbone"]),
    "wrong type": ('epochs = "two"', ["epochs", "int", "'two'"]),
    "part of a number": ("epochs = 2.5", ["epochs", "int", "2.5"]),
    "true is no number": ("epochs = true", ["epochs", "int", "True"]),
    "wrong type in a list": ('milestones = [1, "two"]', ["milestones", "int", "'two'"]),
    "no list": ("milestones = 1", ["milestones", "list"]),
    "choice": ('precision = "fp16"', ["'fp16'", "fp32", "bf16"]),
    "backbone": ('backbone = "resnet9"', ["'resnet9'", "allowed: resnet", "resnet32"]),
    "range": ("epochs = 0", ["epochs >= 1"]),
    "not finite": ("lr = inf", ["finite"]),
    "no TOML": ("epochs: 2", ["is not TOML"]),
    "no text": ("\udcff", ["is not TOML"]),
}


@pytest.mark.parametrize("case", RECIPES)
def test_recipe_files(tmp_path: Path, data: Path, case: str) -> None:
    text, said = RECIPES[case]
    file = tmp_path / "wrong.toml"
    file.write_text(text, errors="surrogateescape")
    line = refused(tmp_path, "--dataset", data, "--recipe", file)
    for part in said if case == "backbone" else ("wrong", *said):
        assert part in line


def test_recipe_file_that_is_missing(tmp_path: Path) -> None:
    line = refused(tmp_path, "--recipe", tmp_path / "none.toml")
    assert "none.toml" in line
    assert "No such file" in line


def test_cuda_without_a_gpu(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = refused(tmp_path, "--dataset", data, "--device", "cuda")
    assert "--device cuda" in line
    assert "allowed: auto, cpu" in line


def test_no_network_and_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    line = refused(tmp_path, "--dataset", "cifar100")
    for part in ("uoft-cs/cifar100", "download https://huggingface.co/datasets/uoft-cs/cifar100", "--data-dir"):
        assert part in line


def labels(*values: int) -> dict[str, Any]:
    """Columns of one image for each label."""
    return {"image": images(np.array(values)), "label": list(values)}


FOUR = [0, 1, 2, 3] * 60
DATA: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no image column": ({split: {"image": None} for split in ("train", "test")}, ["image column", "--image-column"]),
    "no label column": ({split: {"label": None} for split in ("train", "test")}, ["label column", "it has: image"]),
    "one class": ({"train": labels(*[0] * 9), "test": labels(*[0] * 9)}, ["one class", "at least two"]),
    "absent in test": ({"test": labels(*[0, 1, 3] * 60)}, ["class 2 (2)", "no image in the test split"]),
    "absent in train": ({"train": labels(*[0, 1, 3] * 60)}, ["class 2 (2)", "no image in the train split"]),
    "label below 0": ({"train": {"label": [-1, *FOUR[1:]]}}, ["label -1 of train image 0", "range 0..3"]),
    "label too high": ({"test": {"label": [*FOUR[:-1], 4]}}, ["label 4 of test image 239", "range 0..3"]),
    "label missing": ({"train": {"label": [None, *FOUR[1:]]}}, ["1 images of the train split have no label"]),
    "labels no numbers": ({"train": {"label": [0.5] * 240}}, ["'label'", "double", "whole numbers"]),
    "images no images": ({"train": {"image": FOUR}, "test": {"image": FOUR}}, ["'image'", "holds no images"]),
}


@pytest.mark.parametrize("case", DATA)
def test_datasets(tmp_path: Path, recipe: Path, case: str) -> None:
    changes, said = DATA[case]
    folder = write_dataset(tmp_path / "wrong", **changes)
    line = refused(tmp_path, "--dataset", folder, "--recipe", recipe, "--methods", "softmax")
    for part in said:
        assert part in line


def test_no_test_split_and_no_data(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "wrong")
    next(folder.glob("test-*")).unlink()
    assert "no test split" in refused(tmp_path, "--dataset", folder)
    next(folder.glob("train-*")).unlink()
    assert "holds no data" in refused(tmp_path, "--dataset", folder)


@pytest.mark.parametrize(
    ("split", "content", "said"),
    [
        pytest.param(split, *case, marks=() if split == quick else pytest.mark.exhaustive, id=f"{name}-{split}")
        for name, quick, *case in (
            ("no image", "train", b"no image at all", "cannot decode image 13 (13.png): no known image format"),
            ("truncated", "test", images(np.zeros(1))[0][:80], "cannot decode image 13 (13.png)"),
            (
                "another size",
                "test",
                png(np.zeros((9, 7))),
                "images differ in size: 8 x 8 (wrong train image 0), 7 x 9 (wrong ",
            ),
        )
        for split in ("train", "test")
    ],
)
def test_a_bad_image_is_found_before_any_training(
    tmp_path: Path, recipe: Path, split: str, content: bytes, said: str
) -> None:
    good = write_dataset(tmp_path / "good")
    encoded = images(np.array(FOUR), seed=int(split == "test"))
    folder = write_dataset(tmp_path / "wrong", **{split: {"image": [*encoded[:13], content, *encoded[14:]]}})
    arguments = ["--recipe", recipe, "--methods", "softmax", "sade", "--views", "0", "--redraws", "0"]
    arguments += ["--device", "cpu", "--adapters", "mean", "--results", tmp_path / "results"]
    assert call("--dataset", good, *arguments).status == 0
    before = sorted(tmp_path.joinpath("results").rglob("*"))
    result = call("--dataset", folder, *arguments)
    assert result.status == 2
    line = one_line(result.err)
    assert said in line
    assert f"wrong {split}" in line
    assert sorted(tmp_path.joinpath("results").rglob("*")) == before
    assert {row.dataset for row in rows.load_all(tmp_path / "results")} == {"good"}, "finished rows are kept"


@pytest.mark.parametrize("inside", [False, True])
def test_results_that_cannot_be_a_folder(tmp_path: Path, asked: list[str], inside: bool) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    results = file / "results" if inside else file
    result = call(*asked, "--results", results)
    assert result.status == 2
    line = one_line(result.err)
    assert f"--results {results}" in line
    assert ("Not a directory" if inside else "is a file") in line
    assert file.read_text() == "mine"


def test_results_that_are_not_writable(tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's answer is feigned: root may write anywhere."""
    from methods.jobs import arguments as cli

    (tmp_path / "results").mkdir()
    monkeypatch.setattr(cli.os, "access", lambda path, mode: False)
    result = call(*asked, "--results", tmp_path / "results")
    assert result.status == 2
    assert f"--results {tmp_path / 'results'} is not writable" in one_line(result.err)
    assert not list((tmp_path / "results").iterdir())


def test_rows_that_cannot_be_written(tmp_path: Path, asked: list[str]) -> None:
    """Found before anything is trained."""
    results = tmp_path / "results"
    results.mkdir()
    (results / "rows").write_text("a file in the way")
    result = call(*asked, "--results", results)
    assert result.status == 1
    assert str(results / "rows") in one_line(result.err)
    assert not (results / "checkpoints").exists()
    (results / "rows").unlink()
    assert call(*asked, "--results", results).status == 0


@pytest.mark.parametrize("text", [json.dumps({"schema_version": LEADERBOARD_SCHEMA + 1}), "{", "[]"])
def test_leaderboard_of_a_newer_schema_or_none(tmp_path: Path, asked: list[str], text: str) -> None:
    where = tmp_path / "leaderboard.json"
    where.write_text(text)
    result = call(*asked, "--results", tmp_path)
    assert result.status == 2
    line = one_line(result.err)
    assert str(where) in line
    assert "--results" in line or "move it away" in line
    assert [path.name for path in tmp_path.iterdir()] == ["leaderboard.json"]
    assert where.read_text() == text


def test_list_shift_that_does_not_fit_the_pool(tmp_path: Path, data: Path, recipe: Path) -> None:
    listed = tmp_path / "list.txt"
    for text, said in [
        ("0 0\n240 0\n", "240 is not an index below 240"),
        ("0 0\n1 0\n", "label 0 of 1; the pool says 1"),
        ("0 0\n0 0\n", "0 stands there twice"),
        ("zero\n", "line 1: 'zero'"),
        ("", "is empty"),
    ]:
        listed.write_text(text)
        line = refused(tmp_path, "--dataset", data, "--recipe", recipe, "--shift-list", listed)
        assert str(listed) in line
        assert said in line


def test_through_the_real_command(tmp_path: Path) -> None:
    """Exit status, one line and no traceback of a process; --debug adds the traceback."""
    arguments = ["--methods", "sadee", "--results", tmp_path / "results"]
    plain = command(*arguments)
    assert (plain.status, plain.out) == (2, "")
    assert "unknown method 'sadee'; allowed: sade," in one_line(plain.err)
    debug = call(*arguments, "--debug")
    assert debug.status == 2
    assert "Traceback" in debug.err
    assert debug.err.splitlines()[-1] == plain.err.strip()
    train = call("--methods", "sadee", "--results", tmp_path / "results", module="methods.train")
    assert (train.status, train.err) == (2, plain.err)
    assert not (tmp_path / "results").exists()
    assert RECIPE
