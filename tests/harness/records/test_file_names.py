"""Names made into file names: no two share a file, none is too long, and names that were plain stay as they are."""

import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness.board import build as leaderboard
from harness.board.exports import hub_files
from harness.pages.blocks import numbered
from harness.pages.sections import label_sets as multi_label
from harness.records import label_rows, rows
from methods import papers
from methods.core import recipes
from methods.jobs.job import STEM_BYTES, TrainingJob
from shifts.common.files import MOST_BYTES, file_name, shortened
from shifts.images import catalog
from shifts.sets.training import training_set
from tests.harness.fake import fake_label_row, fake_row
from tests.harness.small import call

WORDS = "日本語のとても長い名前"
"""Letters of three bytes each in UTF-8."""


@pytest.mark.parametrize(
    "text", ["embedded", "cifar100", "imagenet_lt", "embedded_mosaics", "a-b.c", "sade@x=1", "café", "2024", "日本"]
)
def test_a_plain_text_stays(text: str) -> None:
    assert file_name(text) == text


texts = st.text(st.sampled_from("aAbB_-.~/ é\u0301\u00c9日\n\0=@:\udcff"), max_size=12)


@given(texts, texts)
@example("my model", "my_model")
@example("a/b", "a_b")
@example("Car", "car")
@example(unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café"))
@example("x", "x.")
@example("", ".")
@example(".", "..")
@example("a" * 300, "a" * 301)
@example(WORDS * 30, WORDS * 31)
def test_different_texts_have_different_names_on_any_file_system(first: str, second: str) -> None:
    assume(first != second)
    names = [file_name(text) for text in (first, second)]
    assert len({unicodedata.normalize("NFD", name.casefold()) for name in names}) == 2
    for name in names:
        assert 0 < len(name.encode()) <= MOST_BYTES
        assert name[0] != "."
        assert not set(name) & set('/\\\0\n :*?"<>|')


def test_a_hashed_name_is_not_another_ones_plain_name() -> None:
    assert file_name(file_name("my model")) != file_name("my model")


def test_names_are_cut_between_letters() -> None:
    assert shortened("ab日本", 4) == "ab"
    assert shortened("ab日本", 5) == "ab日"
    name = file_name(WORDS * 30, most=50)
    assert len(name.encode()) <= 50
    assert (WORDS * 2).startswith(name.partition("~")[0])


def test_names_of_rows_stay_what_they_were_and_fit(tmp_path: Path) -> None:
    def name(adapter: str, shift: str) -> str:
        return rows.path(tmp_path, "stem", adapter, shift, "c" * 64).name

    assert name("sade:objective=inner", "backward_lt-50") == "sade_objective=inner@backward_lt-50-cccccccccccc.json"
    assert name("mean", "custom-a/b c.json") == "mean@custom-a_b_c.json-cccccccccccc.json"
    assert name("a" * 300, "uniform") == "a" * 120 + "-cccccccccccc.json"
    assert name("mean", "custom-" + "日" * 70) == "mean@custom-" + "日" * 70 + "-cccccccccccc.json", "fits as it is"
    assert len(name("mean", "custom-" + "日" * 90).encode()) <= 255


def test_stems_of_training_jobs_stay_what_they_were_and_fit() -> None:
    dataset = catalog.load("embedded")
    job = TrainingJob(dataset, training_set(dataset), papers.get("sade"), recipes.get("quick", "embedded"), seed=0)
    assert job.stem == "embedded-sade-quick-s0-55fbe489771c", "as results/reference has it"
    options = papers.get("prl:variant=released")
    assert replace(job, method=options, seed=2).stem == "embedded-prl_variant_released-quick-s2-c5eb865aa068"
    for long in ("x" * 250, WORDS * 8):
        stem = replace(job, dataset=replace(dataset, entry=replace(dataset.entry, name=long))).stem
        assert len(stem.encode()) <= STEM_BYTES
        assert stem.endswith("-s0-55fbe489771c"), "the name of the data is no part of the key"


def evidence_file(path: Path, seed: int) -> Path:
    """Random evidence of 40 images of 4 classes."""
    rng = np.random.default_rng(seed)
    content = {
        "logits": rng.normal(size=(40, 2, 4)).astype(np.float32),
        "labels": np.arange(40) % 4,
        "train_counts": np.array([40, 20, 10, 5]),
        "expert_priors": np.full((2, 4), 0.25),
    }
    save_file(content, path)
    return path


NAMES = ["my model", "my_model", "My_model", "my:model", "my/model".replace("/", "\u2215"), WORDS * 7, WORDS * 7 + "x"]


def test_models_of_like_names_are_packed_beside_each_other(tmp_path: Path) -> None:
    results, asked = tmp_path / "results", ["--shift", "uniform", "--redraws", "0", "--adapters", "mean", "em"]
    for seed, name in enumerate(NAMES):
        file = evidence_file(tmp_path / f"{name}.safetensors", seed)
        result = call("--evidence", file, *asked, "--results", results)
        assert result.status == 0, result.err
    call("--results", results, "--pack", tmp_path / "packed", module="harness.leaderboard")
    packed = rows.load_all(tmp_path / "packed")
    assert {row.method for row in packed} == set(NAMES)
    assert packed == rows.load_all(results)
    files = [file.name.casefold() for file in (tmp_path / "packed").glob("*.parquet")]
    assert len(set(files)) == len(NAMES)
    assert leaderboard.read(tmp_path / "packed") == leaderboard.read(results)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("caf\udce9", "caf\\udce9"), ("two\nlines", "two\\nlines"), (".x", ".x"), ("a*[b]%{c}?", "a*[b]%{c}?")],
)
def test_any_bytes_may_name_a_model(tmp_path: Path, name: str, shown: str) -> None:
    file, results = evidence_file(tmp_path / f"{name}.safetensors", 0), tmp_path / "results"
    run = call("--evidence", file, "--shift", "uniform", "--redraws", "0", "--adapters", "mean", "--results", results)
    assert run.status == 0, run.err
    run.out.encode()
    assert shown in run.out
    call("--results", results, "--pack", tmp_path / "packed", module="harness.leaderboard")
    (row,) = rows.load_all(tmp_path / "packed")
    assert (row.method, row.dataset) == (shown, f"evidence:{shown}.safetensors")


def test_a_model_and_a_shift_of_the_longest_names(tmp_path: Path) -> None:
    """Every folder and file name as long as file systems allow, in a script of three bytes a letter."""
    folder = tmp_path / ("日" * 85) / ("本" * 85)
    folder.mkdir(parents=True)
    model = evidence_file(folder / ("語" * 81 + ".safetensors"), 0)
    custom = folder / ("字" * 83 + ".json")
    custom.write_text(json.dumps([1, 2, 3, 4]))
    asked = ["--evidence", model, "--shift", f"custom-{custom}", "uniform", "--redraws", "0"]
    result = call(*asked, "--results", tmp_path / "results")
    assert result.status == 0, result.err
    found = rows.load_all(tmp_path / "results")
    assert {row.shift for row in found} == {f"custom-{custom}", "uniform"}
    assert {row.method for row in found} == {"語" * 81}
    studied = call(
        *("--evidence", model, "--shift", "uniform", "--trials", "2", "--set-size", "20", "--adapters", "em"),
        *("--results", tmp_path / "results"),
        module="harness.estimate",
    )
    assert studied.status == 0, studied.err


def test_settings_of_an_export_never_share_a_file() -> None:
    adapters = ["map_em:strength=1", "map_em:strength=-1", "sade:a=1,b=2", "sade:a=1_b=2", "sade"]
    files = hub_files([fake_row(adapter=name) for name in adapters], "owner/data")
    assert sum(name.endswith(".yaml") for name in files) == len(adapters)
    plain = hub_files([fake_row(adapter="em_bcts", source_n=2000)], "owner/data")
    assert any(name.endswith("/.eval_results/em-bcts-2000-source-labels.yaml") for name in plain)


def test_figures_never_share_a_file(tmp_path: Path) -> None:
    names = [("a-b", "c"), ("a", "b-c"), ("a/b", "c"), ("a_b", "c")]
    for dataset, setting in names:
        row = fake_label_row(dataset=dataset, recipe=setting)
        label_rows.store(label_rows.path(tmp_path, dataset.replace("/", "+"), "mean", "uniform", row.row_id), row)
    section = multi_label.section(tmp_path)
    assert section is not None
    assert len({file_name(picture.name) for picture in section.pictures}) == len(names)
    assert numbered(["a", "a", "a-2", "b"]) == ["a", "a-2", "a-2-2", "b"]
