"""The embedded mosaics: what is in a picture is what its labels say, and no test item is in a training picture."""

import io

import numpy as np
import pytest
from scipy.stats import pareto

from shifts.common.errors import BadInput
from shifts.images import mosaics
from shifts.images.catalog import Dataset, load
from shifts.images.imageset import ImageSet
from shifts.images.mosaics import CELLS, MosaicStore, half_size, label_sets
from shifts.images.reading.labelsets import co_occurrence
from shifts.sets.training import training_set


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load("embedded_mosaics")


@pytest.fixture(scope="module")
def source() -> Dataset:
    return load("embedded")


def store(images: ImageSet) -> MosaicStore:
    assert isinstance(images.store, MosaicStore)
    return images.store


def test_label_counts_are_the_reference_profile_and_the_groups_are_all_there(dataset: Dataset) -> None:
    counts = dataset.train.class_counts()
    points = np.linspace(pareto.ppf(0, 6), pareto.ppf(0.99, 6), 10)
    density = pareto.pdf(points, 6)
    assert counts.tolist() == np.maximum(np.floor(800 * density / density[0] + 1e-9), 1).astype(int).tolist()
    assert counts.max() / counts.min() >= 50
    assert [(counts >= 100).sum(), ((counts >= 20) & (counts < 100)).sum(), (counts < 20).sum()] == [3, 3, 4]
    assert dataset.test.class_counts().tolist() == [500] * 10
    assert dataset.task == "multi_label"
    assert dataset.train.labels.dtype == dataset.test.labels.dtype == np.uint8


def test_the_same_everywhere(dataset: Dataset) -> None:
    assert dataset.train.fingerprint == "a7cab9f8e65808974480ff25e34ec2103f235ba5bf8a2d6fa9fbc28fe5389c64"
    assert load("embedded_mosaics").train is dataset.train, "made once a process"
    mosaics.embedded_mosaics.cache_clear()
    again = load("embedded_mosaics")
    assert again.train is not dataset.train
    assert again.train.fingerprint == dataset.train.fingerprint
    assert again.test.fingerprint == dataset.test.fingerprint
    assert dataset.train.digest([0, 1]) != dataset.train.digest([1, 0])


@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_are_the_set_of_items(dataset: Dataset, source: Dataset, split: str) -> None:
    images, items = getattr(dataset, split), getattr(source, split)
    cells = store(images).cells
    assert cells.shape == (len(images), CELLS)
    for picture, labels in zip(cells, images.labels, strict=True):
        classes = items.labels[picture[picture >= 0]]
        assert sorted(classes) == np.flatnonzero(labels).tolist(), "each class once, and no other"
    assert set(images.labels.sum(axis=1).tolist()) == {1, 2, 3, 4}
    assert (cells >= 0).any(axis=0).all(), "every place is used"


@pytest.mark.parametrize("split", ["train", "test"])
def test_pictures_show_the_items_of_their_own_split(dataset: Dataset, source: Dataset, split: str) -> None:
    """Pixel for pixel, so that no picture of one split holds an item of the other."""
    images, items = getattr(dataset, split), getattr(source, split)
    chosen = np.arange(0, len(images), 97)
    pictures = images.images(chosen)
    assert pictures.shape[1:] == (28, 28, 1) == images.image_shape()
    for picture, cells in zip(pictures[..., 0], store(images).cells[chosen], strict=True):
        quarters = [picture[:14, :14], picture[:14, 14:], picture[14:, :14], picture[14:, 14:]]
        for quarter, item in zip(quarters, cells.tolist(), strict=True):
            wanted = np.zeros((14, 14)) if item < 0 else half_size(items.images(np.array([item]))[..., 0])[0]
            np.testing.assert_array_equal(quarter, wanted)


def test_items_are_shared_fairly(dataset: Dataset) -> None:
    train, test = store(dataset.train).cells, store(dataset.test).cells
    uses = np.bincount(test[test >= 0], minlength=5000)
    assert uses.tolist() == [1] * 5000, "test pictures share nothing"
    used = np.bincount(train[train >= 0], minlength=5000)
    assert used.max() == 2, "800 labels of 500 images"


def test_pictures_are_files_that_anybody_can_read(dataset: Dataset) -> None:
    from PIL import Image

    content = dataset.train.encoded([3])[0]
    assert content.startswith(b"P5 28 28 255\n")
    np.testing.assert_array_equal(Image.open(io.BytesIO(content)), dataset.train.images(np.array([3]))[0, ..., 0])


def test_half_size_rounds_means() -> None:
    images = np.array([[[0, 1, 255, 255], [1, 0, 255, 254]]], dtype=np.uint8)
    assert half_size(images).tolist() == [[[1, 255]]]


def test_label_sets_have_the_counts_asked_for() -> None:
    counts = np.array([7, 0, 3, 1])
    sets = label_sets(counts, np.random.RandomState(0))
    assert sets.sum(axis=0).tolist() == counts.tolist()
    assert (sets.sum(axis=1) > 0).all()
    assert not np.array_equal(sets, label_sets(counts, np.random.RandomState(1)))


def test_taken_as_it_is(dataset: Dataset) -> None:
    training = training_set(dataset)
    assert (training.n, training.imbalance, training.profile) == (887, None, "natural")
    assert training.counts.tolist() == dataset.train.class_counts().tolist()
    assert training.fingerprint == dataset.train.fingerprint
    with pytest.raises(BadInput, match=r"embedded_mosaics is multi-label and taken as it is.*natural"):
        training_set(dataset, imbalance=50)


def test_co_occurrence_has_label_counts_on_its_diagonal(dataset: Dataset) -> None:
    together = co_occurrence(dataset.train.labels)
    assert np.diag(together).tolist() == dataset.train.class_counts().tolist()
    np.testing.assert_array_equal(together, together.T)
    assert together[0, 1] == (dataset.train.labels[:, 0] & dataset.train.labels[:, 1]).sum() > 0


@pytest.mark.parametrize(
    ("given", "said"), [({"data_dir": "."}, "takes no --data-dir"), ({"ids": "ids.txt"}, "takes no --ids")]
)
def test_what_it_does_not_take(given: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load("embedded_mosaics", **given)
