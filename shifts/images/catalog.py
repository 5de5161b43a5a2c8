"""Named datasets: one declarative entry each, and `load`, which turns a name into a train and a test `ImageSet`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from shifts.common.errors import BadInput, check_name
from shifts.common.notes import Note
from shifts.images import embedded
from shifts.images.drawn import Drawn, read_drawn
from shifts.images.entries import ENTRIES, Channels, Entry, Task
from shifts.images.imageset import ImageSet
from shifts.images.listfiles import load_lists
from shifts.images.reading.columns import Splits, image_sets, single_label
from shifts.images.reading.hub import is_hub_id, open_hub
from shifts.images.reading.labelsets import check_counts
from shifts.images.reading.local import open_folder

NO_SPREAD = 1 / 255_000
"""A standard deviation of less than a thousandth of a grey level is rounding, not spread."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training pool and a test pool with the same classes.

    `drawn` is set where the training pool is an exported long-tailed training set rather than the full one;
    `validation` where there are labelled images of every class besides the two pools. `published`: the pools hold
    what the entry's published data hold. `origins` (by role), `labels_from` and `notes` say what was understood.
    """

    entry: Entry
    train: ImageSet
    test: ImageSet
    rank_by_index: bool
    mean: Channels | None
    std: Channels | None
    drawn: Drawn | None = None
    validation: ImageSet | None = None
    published: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)
    labels_from: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def task(self) -> Task:
        return self.entry.task

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.train.class_names

    @property
    def classes(self) -> int:
        return len(self.train.class_names)

    @cached_property
    def normalisation(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Mean and divisor per RGB channel in [0, 1], float64: the entry's, or the training pool's.

        The divisor is the standard deviation, and 1 for a channel that is the same everywhere. Raises WorkFailed where
        the training pool has to be decoded and cannot be.
        """
        if self.mean is not None and self.std is not None:
            mean, std = np.asarray(self.mean), np.asarray(self.std)
        else:
            mean, std = channel_statistics(self.train)
        return mean, np.where(std < NO_SPREAD, 1.0, std)


def load(
    name: str,
    data_dir: str | Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    ids: str | Path | None = None,
    *,
    config: str | None = None,
    test_split: str | None = None,
    test_fraction: float | None = None,
) -> Dataset:
    """Return the dataset of a catalog name, a Hub id or a local folder.

    data_dir: read this local copy instead of the Hub. ids: a file that lists the training images to keep of a
    multi-label dataset, one id a line (VOC-MLT, COCO-MLT). config: which configuration of a dataset that has several.
    test_split: the split to test on. test_fraction: the part of each class that becomes the test set of data without
    one. A name of the catalog is kept only by data that hold what its entry says; others are called `NAME-like`.
    Raises BadInput: unknown name, missing or unreadable data, columns, splits or labels that do not fit, training
    images of label sets that are not the published ones.
    """
    entry = _entry(name)
    fixed = {"--ids": ids, "--config": config, "--test-split": test_split, "--test-fraction": test_fraction}
    given = next((option for option, value in fixed.items() if value is not None), None)
    if given is not None and (entry.lists is not None or entry.made is not None):
        raise BadInput(f"{name} takes no {given}; its splits are what its files or the program say")
    if entry.made is not None:
        if data_dir is not None:
            raise BadInput(f"{name} is made of the embedded images and takes no --data-dir")
        sets = dict(zip(("train", "test"), entry.made(entry.name), strict=True))
        return _dataset(entry, Splits(sets, dict.fromkeys(sets, "made of the embedded images"), "the items they hold"))
    if entry.lists is not None:
        return _of_lists(entry, data_dir)
    columns = (image_column or entry.image_column, label_column or entry.label_column)
    columns_and_classes = (*columns, entry.labels, None if ids is None else Path(ids))
    how = {"test_split": test_split, "test_fraction": test_fraction}
    folder = _folder(entry, name, None if data_dir is None else Path(data_dir))
    if folder is None:
        tables = open_hub(str(entry.hub_id), config)
        splits = image_sets(entry.name, tables, *columns_and_classes, **how)  # type: ignore[arg-type]
    else:
        splits = open_folder(entry.name, folder, *columns_and_classes, config=config, **how)  # type: ignore[arg-type]
    train = splits.sets["train"]
    if entry.label_counts is not None:
        check_counts(entry.name, train.labels, entry.label_counts, entry.train_images)
    entry = replace(entry, task="multi_label") if train.multi_label else entry
    drawn = None if folder is None else read_drawn(folder, train.class_counts())
    if drawn is not None and drawn.source_sha256 is not None and "validation" not in splits.sets:
        raise BadInput(
            f"{folder} was exported with source images, and its validation split is missing; export it again"
        )
    return _dataset(entry, splits, drawn)


def _of_lists(entry: Entry, data_dir: str | Path | None) -> Dataset:
    """Return the dataset of list files. Pixels and fingerprints of the published sets are taken as published."""
    assert entry.lists is not None
    if data_dir is None:
        files = " and ".join(entry.lists[split] for split in ("train", "test"))
        raise BadInput(f"{entry.name} needs --data-dir: the folder with {files} and the images")
    found, paths = load_lists(entry.name, Path(data_dir), entry.lists)
    splits = single_label(entry.name, found)
    assert entry.content is not None
    published = entry.content.fits(splits.sets["train"], splits.sets["test"])
    sets = {role: replace(images, paths=paths[role], as_published=published) for role, images in splits.sets.items()}
    if published:
        told = "pixels are taken as stored, EXIF orientation ignored, as the published figures were measured"
        splits = splits.with_notes([Note("as_published", 0, told, "told")])
    return _dataset(entry, replace(splits, sets=sets))


def channel_statistics(images: ImageSet) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Return mean and standard deviation per RGB channel over all pixels of a split, float64, pixels in [0, 1].

    Images may differ in size; a few are in memory at a time.
    """
    total, squares, pixels = np.zeros(3), np.zeros(3), 0
    for batch in _pixel_batches(images):
        values = batch.astype(np.float64) / 255
        total += values.sum(axis=0)
        squares += (values**2).sum(axis=0)
        pixels += len(values)
    mean = total / pixels
    return mean, np.sqrt(np.maximum(squares / pixels - mean**2, 0))


def _pixel_batches(images: ImageSet) -> Iterator[UInt8[np.ndarray, "pixels channels"]]:
    """Yield all pixels of a split, a few images at a time; one channel where those are all grey."""
    held: list[np.ndarray] = []
    pixels = 0
    for number, image in enumerate(images.decoded(range(len(images))), start=1):
        held.append(image)
        pixels += image.shape[0] * image.shape[1]
        if len(held) == 1000 or pixels >= 2**22 or number == len(images):
            grey = all(image.ndim == 2 for image in held)
            colours = [image if grey or image.ndim == 3 else np.stack([image] * 3, -1) for image in held]
            yield np.concatenate([image.reshape(-1, 1 if grey else 3) for image in colours])
            held, pixels = [], 0


def _entry(name: str) -> Entry:
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    licence = "its own; see where it comes from"
    if Path(name).is_dir():
        return Entry(Path(name).resolve().name, "a local folder", licence)
    if is_hub_id(name):
        return Entry(name, "a dataset of the Hugging Face Hub", licence, hub_id=name)
    if "/" in name:
        raise BadInput(f"no such data folder: {name}")
    check_name("dataset", name, [entry.name for entry in ENTRIES] + ["OWNER/NAME on the Hub", "a local FOLDER"])
    raise AssertionError(name)


def _folder(entry: Entry, name: str, data_dir: Path | None) -> Path | None:
    """Return the local folder to read; None for the Hub. Raises BadInput where one must be given."""
    if data_dir is not None:
        return data_dir
    if entry.name == "embedded":
        return embedded.FOLDER
    if entry.hub_id is not None:
        return None
    if entry.label_counts is not None:
        raise BadInput(f"{name} needs --data-dir: a folder with train and test images and their lists of labels")
    return Path(name)


def _dataset(entry: Entry, splits: Splits, drawn: Drawn | None = None) -> Dataset:
    for split in ("train", "test"):
        _check_classes(splits.sets[split].class_counts(), splits.sets[split])
    entry, published, notes = _as_content_says(entry, splits.sets["train"], splits.sets["test"], drawn)
    sets = {
        role: images if images.name == entry.name else replace(images, name=entry.name)
        for role, images in splits.sets.items()
    }
    by_index, mean, std = entry.rank_by_index, entry.mean, entry.std
    if drawn is not None:
        by_index = drawn.rank_by_index
        mean, std = mean or drawn.mean, std or drawn.std
    validation = sets.get("validation")
    if validation is not None and not validation.class_counts().all():
        absent = int((validation.class_counts() == 0).sum())
        text = f"the {validation.split} split is not used: it has no image of {absent:,} classes"
        notes, validation = [*notes, Note("validation", absent, text)], None
    return Dataset(
        entry,
        sets["train"],
        sets["test"],
        by_index,
        mean,
        std,
        drawn,
        validation,
        published,
        splits.origins,
        splits.labels_from,
        (*splits.notes, *notes),
    )


def _as_content_says(
    entry: Entry, train: ImageSet, test: ImageSet, drawn: Drawn | None
) -> tuple[Entry, bool, list[Note]]:
    """Return the entry that the content earns, whether it is the published content, and a note on a name not earned."""
    if train.multi_label:
        return entry, entry.label_counts is not None, []
    if entry not in ENTRIES:
        known = next((e for e in ENTRIES if e.content and drawn is None and e.content.is_known(train, test)), None)
        if known is not None:
            return known, True, []
    claimed = next((e for e in ENTRIES if e.name == entry.name), None)
    if claimed is None or claimed.content is None:
        return entry, False, []
    if entry in ENTRIES and claimed.content.fits(train, test, drawn):
        return entry, True, []
    content = claimed.content
    text = (
        f"these are not the published images of {entry.name}: {len(train):,} training and {len(test):,} test images of "
        f"{len(train.class_names):,} classes, not {content.train:,} and {content.test:,} of {content.classes:,}; "
        f"rows call them {entry.name}-like"
    )
    return replace(entry, name=f"{entry.name}-like"), False, [Note("name", 0, text)]


def _check_classes(counts: Int[np.ndarray, " classes"], images: ImageSet) -> None:
    if len(counts) < 2:
        raise BadInput(f"{images.name} has one class; at least two are needed")
    absent = np.flatnonzero(counts == 0)
    if len(absent):
        label = f"class {absent[0]} ({images.class_names[absent[0]]})"
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise BadInput(f"{images.name}: {label}{more} has no image in the {images.split} split")
