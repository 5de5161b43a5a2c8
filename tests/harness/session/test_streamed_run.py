"""The main command on images of different sizes, from a folder and from list files, through ResNet-10 at 32 pixels."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.run import main
from methods.pixels import streaming

RECIPE = """\
backbone = "resnet10"
epochs = 1
batch_size = 16
warmup = 0
milestones = [1, 1]
crop = "resized"
size = 32
rotation = 0.0
jitter = 0.4
"""
CLASSES, PER_CLASS = 4, 12


def picture(label: int, number: int) -> Image.Image:
    """Noise around a colour of the class; no two of one class have the same size; one in five is grey."""
    rng = np.random.default_rng((label, number))
    pixels = rng.normal(40 + 50 * label, 30, (24 + 3 * number, 60 - 2 * number, 3)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert("L" if number % 5 == 4 else "RGB")


def write(root: Path, split: str, start: int) -> list[str]:
    lines = []
    for label in range(CLASSES):
        (root / split / f"class{label}").mkdir(parents=True)
        for number in range(PER_CLASS):
            path = f"{split}/class{label}/{number}.{'png' if number % 2 else 'jpg'}"
            picture(label, start + number).save(root / path)
            lines.append(f"{path} {label}")
    return lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for split, start in (("train", 0), ("test", 1)):
        write(root, split, start)
    return root


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Places-LT's list files; the training set is long-tailed by itself."""
    root = tmp_path / "places"
    train = write(root, "train", 0)
    kept = [line for label in range(CLASSES) for line in train[label * PER_CLASS :][: PER_CLASS - 2 * label]]
    (root / "Places_LT_train.txt").write_text("\n".join(kept))
    (root / "Places_LT_test.txt").write_text("\n".join(write(root, "test", 1)))
    return root


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict]]:
    """Run the command on a recipe; returns the rows it stored."""
    monkeypatch.setattr(streaming, "worker_count", lambda: 1)
    toml = tmp_path / "resized.toml"
    toml.write_text(RECIPE)
    results = tmp_path / "results"

    def command(*arguments: object, status: int = 0) -> list[dict]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            options = ["--recipe", toml, "--results", results, "--device", "cpu", "--views", "1", "--redraws", "0"]
            assert (main([str(argument) for argument in [*arguments, *options]]) or 0) == status
        finally:
            torch.set_num_threads(threads)
        return [json.loads(path.read_text()) for path in sorted((results / "rows").rglob("*.json"))]

    return command


def test_a_folder_of_images_of_different_sizes(run: Callable[..., list[dict]], folder: Path, tmp_path: Path) -> None:
    asked = ["--dataset", folder, "--train-imbalance", "2", "--methods", "sade", "ride", "--adapters", "mean", "sade"]
    rows = run(*asked, "--shift", "uniform", "backward_lt-2")
    assert len(rows) == 2 * 2 * 2
    assert {row["backbone"] for row in rows} == {"resnet10"}
    assert all(0 <= row["top1"] <= 1 for row in rows)
    described = [json.loads(path.read_text()) for path in (tmp_path / "results" / "checkpoints").glob("*.json")]
    assert {(d["recipe_settings"]["crop"], d["recipe_settings"]["size"]) for d in described} == {("resized", 32)}
    # nothing is left to do, and what was made is found again
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.safetensors")}
    assert len(before) == 4
    run(*asked, "--shift", "uniform", "backward_lt-2")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_list_files(run: Callable[..., list[dict]], lists: Path) -> None:
    chosen = [line for line in (lists / "Places_LT_test.txt").read_text().splitlines() if "/1" not in line]
    (lists / "shift.txt").write_text("\n".join(chosen))
    asked = ["--dataset", "places_lt", "--data-dir", lists, "--methods", "softmax", "--adapters", "mean"]
    rows = run(*asked, "--shift", "uniform", "--shift-list", lists / "shift.txt")
    assert {row["dataset"] for row in rows} == {"places_lt-like"}, "its counts are not the published ones"
    assert {row["train_counts"][3] for row in rows} == {PER_CLASS - 6}
    assert len(chosen) in {row["n"] for row in rows}


def test_a_natural_set_is_calibrated_on_its_validation_split(run: Callable[..., list[dict]], lists: Path) -> None:
    asked = ["--dataset", "places_lt", "--data-dir", lists, "--methods", "softmax", "--adapters", "calibrated"]
    (trained,) = run(*asked, "--shift", "uniform")
    assert trained["source_seen"] == trained["source_n"] == trained["train_n"]
    (lists / "Places_LT_val.txt").write_text("\n".join(write(lists, "validation", 2)))
    (held_out,) = [row for row in run(*asked, "--shift", "uniform") if row["source_seen"] == 0]
    assert held_out["source_n"] == CLASSES * PER_CLASS
    assert held_out["row_id"] != trained["row_id"]
    assert held_out["checkpoint_sha256"] == trained["checkpoint_sha256"]


def test_images_held_out_of_a_natural_set_are_its_source(run: Callable[..., list[dict]], lists: Path) -> None:
    asked = ["--dataset", "places_lt", "--data-dir", lists, "--methods", "softmax", "--adapters", "calibrated"]
    (row,) = run(*asked, "--profile", "natural:holdout=3", "--shift", "uniform")
    natural = [PER_CLASS - 2 * label for label in range(CLASSES)]
    held = [min(3, count // 2) for count in natural]
    assert row["train_profile"] == "natural:holdout=3"
    assert row["train_counts"] == [count - kept for count, kept in zip(natural, held, strict=True)]
    assert (row["source_n"], row["source_seen"]) == (sum(held), 0)


def test_published_places_without_weights_is_refused_before_work(
    lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    arguments = ["--dataset", "places_lt", "--data-dir", str(lists), "--recipe", "published"]
    assert main([*arguments, "--results", str(tmp_path / "results")]) == 2
    error = capsys.readouterr().err
    assert "resnet152 needs pre-trained weights: download" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_an_unreadable_image_is_named(
    folder: Path, run: Callable[..., list[dict]], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "test" / "class1" / "3.png").write_bytes(b"nothing")
    assert not run("--dataset", folder, "--methods", "softmax", "--adapters", "mean", "--shift", "uniform", status=2)
    error = capsys.readouterr().err
    assert "cannot decode image" in error
    assert "3.png" in error
    assert error.count("\n") == 1
