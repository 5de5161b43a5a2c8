"""A channel that is the same everywhere: it is shifted, not scaled, wherever images are normalised."""

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.records import label_rows, rows
from methods.jobs.job import normalisation
from methods.pixels import streaming
from shifts.images.catalog import Dataset, channel_statistics, load
from tests.harness.small import call, png, write_dataset
from tests.methods.pictures import ONLY, picture, write_pictures, write_recipe

RESIZED = 'crop = "resized"\nsize = 8\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "cells", [20, 12], black=[2])


def test_a_channel_without_spread_is_divided_by_one(folder: Path) -> None:
    dataset = load(str(folder))
    mean, std = channel_statistics(dataset.train)
    assert (mean[2], std[2]) == (0, 0)
    found = dataset.normalisation
    np.testing.assert_array_equal(found[0], mean)
    np.testing.assert_array_equal(found[1], [std[0], std[1], 1.0])
    for values, expected in zip(normalisation(dataset, torch.device("cpu")), found, strict=True):
        assert values.tolist() == pytest.approx(expected.tolist(), rel=1e-6)


@pytest.mark.parametrize(
    ("given", "used"),
    [(0.0, 1.0), (1e-9, 1.0), (3.9e-6, 1.0), (4e-6, 4e-6), (1e-3, 1e-3), (0.2, 0.2)],
)
def test_what_rounding_leaves_is_no_spread(given: float, used: float, folder: Path) -> None:
    dataset = load(str(folder))
    known = Dataset(dataset.entry, dataset.train, dataset.test, False, (0.5, 0.5, 0.5), (0.25, given, 0.25))
    assert known.normalisation[1].tolist() == [0.25, used, 0.25]


def test_statistics_of_one_grey_value_are_no_spread(tmp_path: Path) -> None:
    """Each value of a pixel leaves its own rounding."""
    for value in (1, 77, 201, 255):
        flat = [png(np.full((9, 7), value)) for _ in range(12)]
        columns = {"image": flat, "label": [0, 1] * 6}
        dataset = load(str(write_dataset(tmp_path / str(value), train=dict(columns), test=dict(columns))))
        assert dataset.normalisation[1].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("extra", ["", RESIZED], ids=["in memory", "streamed"])
def test_such_images_are_trained_on_and_told_apart(
    extra: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "worker_count", lambda: 0)
    asked = ["--dataset", folder, "--recipe", write_recipe(tmp_path, extra), "--methods", "softmax", "ride"]
    made = call(*asked, *ONLY, "--adapters", "mean", "calibrated", "--views", "1", "--results", tmp_path / "results")
    assert made.status == 0, made.err
    found = rows.load_all(tmp_path / "results")
    assert len(found) == 4
    assert all(np.isfinite([row.top1, row.nll, row.ece]).all() for row in found)


def test_label_sets_are_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "worker_count", lambda: 0)
    rng = np.random.default_rng(0)
    files = [png(np.asarray(picture(number % 3, (8, 8), rng, black=[2]))) for number in range(24)]
    columns = {"image": files, "label": None, "labels": [[0], [1], [0, 1]] * 8}
    folder = write_dataset(tmp_path / "sets", train=dict(columns), test=dict(columns))
    for extra in ("", RESIZED):
        asked = ["--dataset", folder, "--recipe", write_recipe(tmp_path, extra), "--methods", "bce", "ltml"]
        made = call(*asked, *ONLY, "--results", tmp_path / "results")
        assert made.status == 0, made.err
    found = label_rows.load_all(tmp_path / "results")
    assert len(found) == 4
    assert all(np.isfinite(row.map) for row in found)
