"""Images of different sizes: refused before any work with a size to resize to, and trained on with `--size`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.records import label_rows, rows
from harness.session.subject import _published
from methods.core import recipes
from methods.core.recipes import PUBLISHED, QUICK
from methods.jobs.sizes import check_sizes, proposed
from methods.pixels import streaming
from shifts.common.errors import BadInput
from tests.harness.small import Result, call, one_line, png, write_dataset
from tests.methods.pictures import ONLY, write_pictures, write_recipe

DIFFERENT = {"train": np.array([[68, 108], [68, 108], [104, 102], [0, 0]]), "test": np.array([[68, 108], [30, 41]])}


def landscape(number: int) -> tuple[int, int]:
    return 12 + 3 * (number % 5), 20 - 2 * (number % 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "photos", [17, 9], size=landscape)


@pytest.fixture(autouse=True)
def _no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "worker_count", lambda: 0)


def run(*arguments: object) -> Result:
    return call(*arguments, *ONLY, "--views", "0")


def test_different_sizes_are_refused_with_where_they_are_and_a_size() -> None:
    with pytest.raises(BadInput) as refused:
        check_sizes(QUICK, DIFFERENT)
    assert str(refused.value) == (
        "images differ in size: 68 x 108 (train image 0), 104 x 102 (train image 2) and 1 more; recipe quick does not "
        "resize them; give --size N to resize all, such as --size 64"
    )
    with pytest.raises(BadInput, match=r"16 x 16 \(train image 0\), 32 x 32 \(test image 0\); recipe"):
        check_sizes(QUICK, {"train": np.full((3, 2), 16), "test": np.full((3, 2), 32)})


def test_equal_sizes_and_recipes_that_resize_are_not_refused() -> None:
    check_sizes(QUICK, {"train": np.array([[8, 20], [0, 0]]), "test": np.array([[8, 20]])})
    check_sizes(QUICK, {})
    check_sizes(QUICK.sized(32), DIFFERENT)
    check_sizes(recipes.get("published", "imagenet_lt"), DIFFERENT)


@pytest.mark.parametrize(
    ("backbone", "sizes", "size"),
    [
        ("resnet8", [[30, 41], [33, 33], [36, 90]], 32),
        ("resnet8", [[500, 375]], 64),
        ("resnet50", [[500, 375]], 224),
        ("resnet10", [[100, 90], [0, 0]], 88),
        ("resnet32", [[1, 3], [2, 2]], 8),
    ],
)
def test_what_is_proposed_is_the_median_shorter_side(backbone: str, sizes: list[list[int]], size: int) -> None:
    assert proposed(replace(PUBLISHED, backbone=backbone), {"train": np.array(sizes)}) == size


def test_a_sized_recipe_has_a_name_and_settings_of_its_own() -> None:
    sized = QUICK.sized(64)
    assert sized == replace(QUICK, name="quick-size64", crop="whole", size=64)
    assert len({json.dumps(QUICK.sized(size).settings()) for size in (32, 40, 64)}) == 3
    # a recipe that resizes keeps how it does, and its own size is no change
    imagenet, voc = recipes.get("published", "imagenet_lt"), recipes.get("published-scratch", "voc_mlt")
    assert imagenet.sized(224) is imagenet
    assert imagenet.sized(128) == replace(imagenet, name="published-size128", size=128)
    assert voc.sized(448) == replace(voc, name="published-scratch-size448", size=448)


def test_a_sized_recipe_is_never_the_published_one() -> None:
    for size in (64, 128):
        assert not _published(PUBLISHED.sized(size), "cifar100")
        assert not _published(recipes.get("published", "imagenet_lt").sized(size), "imagenet_lt")


def test_the_name_of_a_sized_recipe_says_how_it_is_asked_for() -> None:
    with pytest.raises(BadInput, match=r"'quick-x0\.5-size64': give --recipe quick-x0\.5 --size 64"):
        recipes.get("quick-x0.5-size64", "embedded")


def test_photographs_are_refused_before_work(folder: Path, tmp_path: Path) -> None:
    refused = run("--dataset", folder, "--methods", "softmax", "--results", tmp_path / "results")
    assert refused.status == 2
    line = one_line(refused.err)
    assert "(photos train image 0)" in line
    assert "recipe quick does not resize them; give --size N to resize all, such as --size 16" in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("resnet8", 64),
        ("resnet32", 40),
        *(
            pytest.param(*case, marks=pytest.mark.exhaustive)
            for case in (("resnet8", 32), ("resnet8", 40), ("resnet32", 32), ("resnet32", 64))
        ),
    ],
)
def test_photographs_are_trained_on_with_a_size(backbone: str, size: int, folder: Path, tmp_path: Path) -> None:
    toml = write_recipe(tmp_path)
    toml.write_text(toml.read_text().replace("resnet8", backbone))
    asked = ["--dataset", folder, "--recipe", toml, "--methods", "softmax", "--results", tmp_path / "results"]
    made = run(*asked, "--size", size)
    assert made.status == 0, made.err
    (row,) = rows.load_all(tmp_path / "results")
    assert (row.recipe, row.backbone) == (f"tiny-size{size}", backbone)
    assert np.isfinite(row.nll)
    (about,) = (json.loads(path.read_text()) for path in (tmp_path / "results" / "checkpoints").glob("*.json"))
    assert (about["recipe_settings"]["crop"], about["recipe_settings"]["size"]) == ("whole", size)


def test_every_kind_of_evidence_is_of_that_size(folder: Path, tmp_path: Path) -> None:
    asked = ["--dataset", folder, "--recipe", write_recipe(tmp_path), "--size", "8", "--methods", "ride", "shike"]
    made = call(*asked, *ONLY, "--adapters", "mean", "sade", "calibrated", "--views", "1", "--results", tmp_path / "r")
    assert made.status == 0, made.err
    found = {(row.method, row.adapter) for row in rows.load_all(tmp_path / "r")}
    assert found == {(method, adapter) for method in ("ride", "shike") for adapter in ("mean", "sade", "calibrated")}


def test_rows_of_different_sizes_stand_apart(folder: Path, tmp_path: Path) -> None:
    asked = ["--dataset", folder, "--recipe", write_recipe(tmp_path), "--methods", "softmax", "--results", tmp_path]
    for size in (8, 16):
        assert run(*asked, "--size", size).status == 0
    found = rows.load_all(tmp_path)
    assert {row.recipe for row in found} == {"tiny-size8", "tiny-size16"}
    assert len({row.recipe_sha256 for row in found}) == len({row.row_id for row in found}) == 2
    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert len(board["entries"]) == 2


def test_equal_images_may_be_resized_too(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", [9, 8])
    asked = ["--dataset", folder, "--recipe", write_recipe(tmp_path), "--methods", "softmax"]
    made = run(*asked, "--size", "16", "--results", tmp_path / "results")
    assert made.status == 0, made.err


def test_label_sets_are_resized_too(tmp_path: Path) -> None:
    files = [png(np.full((8 + number % 3, 9), 40 + number)) for number in range(20)]
    columns = {"image": files, "label": None, "labels": [[0], [1], [0, 1], [1]] * 5}
    folder = write_dataset(tmp_path / "sets", train=dict(columns), test=dict(columns))
    asked = ["--dataset", folder, "--recipe", write_recipe(tmp_path), "--methods", "bce"]
    assert run(*asked, "--results", tmp_path / "results").status == 2
    made = run(*asked, "--size", "8", "--results", tmp_path / "results")
    assert made.status == 0, made.err
    (row,) = label_rows.load_all(tmp_path / "results")
    assert row.recipe == "tiny-size8"


@pytest.mark.parametrize("text", ["0", "-8", "8.5", "big"])
def test_a_size_is_a_whole_number(text: str, tmp_path: Path) -> None:
    refused = run("--size", text, "--results", tmp_path / "results")
    assert refused.status == 2
    assert "is not a whole number >= 1" in one_line(refused.err)


def test_jobs_name_the_size(folder: Path, tmp_path: Path) -> None:
    asked = ["--dataset", folder, "--methods", "softmax", "--results", tmp_path, "--size", "16"]
    listed = run(*asked, "--dry-run", "--jobs")
    assert (listed.status, listed.err) == (0, "")
    assert " --size 16 " in listed.out
