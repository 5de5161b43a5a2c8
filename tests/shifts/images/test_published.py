"""Names and figures of published data stand only beside data that hold the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shifts.images import catalog
from shifts.images.catalog import load
from shifts.images.embedded import FOLDER as EMBEDDED_FOLDER
from shifts.images.entries import ENTRIES
from shifts.images.published import Content
from shifts.labels.shift import Shift
from shifts.sets.export import export
from shifts.sets.resolve import resolve
from shifts.sets.training import training_set
from tests.shifts.pictures import notes, write_folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog whose `cifar10` is three classes of 40 and 20 images."""
    changed = [
        replace(entry, content=Content(3, 120, 60), image_column=None, label_column=None)
        if entry.name == "cifar10"
        else entry
        for entry in ENTRIES
    ]
    monkeypatch.setattr(catalog, "ENTRIES", tuple(changed))


def origin(root: Path, name: str | None = None) -> tuple[str, str]:
    """Name and origin of the backward set on a folder, read by a name of the catalog or as a folder."""
    dataset = load(str(root)) if name is None else load(name, root)
    counts = training_set(dataset, "natural" if dataset.drawn is None else None).counts
    return dataset.name, resolve(dataset, Shift("backward_lt", 5), counts)[1]


def test_a_name_of_the_catalog_is_earned_by_counts(tmp_path: Path, small: None) -> None:
    full = {"train": 40, "test": 20}
    true = write_folder(tmp_path / "cifar10", ["a", "b", "c"], full)
    assert origin(true, "cifar10") == ("cifar10", "published")
    assert origin(true) == ("cifar10-like", "generated")  # a folder's own name says nothing
    for number, (classes, sizes) in enumerate(
        [(["a", "b"], full), (["a", "b", "c"], full | {"test": 19}), (["a", "b", "c"], full | {"train": 41})]
    ):
        root = write_folder(tmp_path / str(number), classes, sizes)
        assert origin(root, "cifar10") == ("cifar10-like", "generated")
        assert "these are not the published images of cifar10" in notes(load("cifar10", root))
    lacking = write_folder(tmp_path / "lacking", ["a", "b", "c"], full)
    (lacking / "test/a/0.png").rename(lacking / "test/b/99.png")
    assert origin(lacking, "cifar10") == ("cifar10-like", "generated")


def test_an_exported_training_set_is_held_against_what_can_be_drawn(tmp_path: Path, small: None) -> None:
    true = write_folder(tmp_path / "data", ["a", "b", "c"], {"train": 40, "test": 20})
    dataset = load("cifar10", true)
    export(dataset, training_set(dataset, 10), tmp_path / "lt10")
    assert origin(tmp_path / "lt10", "cifar10") == ("cifar10", "published")
    other = load(str(write_folder(tmp_path / "other", ["a", "b", "c"], {"train": 39, "test": 20})))
    export(other, training_set(other, 10), tmp_path / "other10")
    assert origin(tmp_path / "other10", "cifar10") == ("cifar10-like", "generated")


def test_the_same_bytes_are_known_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(EMBEDDED_FOLDER)
    for name in (str(EMBEDDED_FOLDER), str(tmp_path / "mine")):
        assert load(name).name == "embedded"
    entry = next(entry for entry in ENTRIES if entry.name == "embedded")
    assert load("embedded").entry == load(str(EMBEDDED_FOLDER)).entry == entry
    assert load("embedded").published


def test_small_lists_are_not_the_published_ones(list_root: Path) -> None:
    dataset = load("places_lt", list_root)
    assert (dataset.name, dataset.published, dataset.train.as_published) == ("places_lt-like", False, False)
    again = load("places_lt", list_root).train
    assert again.fingerprint == dataset.train.fingerprint
    (list_root / "train/0/0.png").write_bytes((list_root / "train/0/1.png").read_bytes())
    assert load("places_lt", list_root).train.fingerprint != dataset.train.fingerprint


def test_published_lists_stay_as_published(list_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = Content(3, 15, 9, balanced=False)
    changed = [replace(entry, content=content) if entry.name == "places_lt" else entry for entry in ENTRIES]
    monkeypatch.setattr(catalog, "ENTRIES", tuple(changed))
    dataset = load("places_lt", list_root)
    assert (dataset.name, dataset.published, dataset.train.as_published) == ("places_lt", True, True)
    assert "pixels are taken as stored, EXIF orientation ignored" in notes(dataset)
    assert resolve(dataset, Shift("uniform"), np.array([4, 9, 2]))[1] == "published"
