"""Named datasets: one declarative entry each, and `load`, which turns a name into a train and a test `ImageSet`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8

from shifts.columns import image_sets
from shifts.errors import BadInput, check_name
from shifts.export import Drawn, read_drawn
from shifts.hub import is_hub_id, open_folder, open_hub
from shifts.imageset import ImageSet
from shifts.labelsets import check_counts
from shifts.listfiles import load_lists
from shifts.longtailed import COCO_COUNTS, COCO_IMAGES, VOC_COUNTS, VOC_IMAGES
from shifts.mosaics import embedded_mosaics

Task = Literal["single_label", "multi_label"]
Channels = tuple[float, float, float]

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
NO_SPREAD = 1 / 255_000
"""A standard deviation of less than a thousandth of a grey level is rounding, not spread."""


@dataclass(frozen=True)
class Entry:
    """One dataset, declared. `mean` and `std` are per channel in [0, 1]; None = computed from the training pool.

    `imbalance` is the default training imbalance (None: natural); `lists` are the list files of list-file data by
    split, of which the one of validation may be missing; `published` says that the eleven published shifts are drawn
    from this very pool. A published multi-label training set has its label counts by class, in order, and its number
    of images, which what is loaded must have; `made` makes train and test instead of reading them.
    """

    name: str
    about: str
    licence: str
    hub_id: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    lists: Mapping[str, str] | None = None
    rank_by_index: bool = False
    imbalance: float | None = None
    mean: Channels | None = None
    std: Channels | None = None
    published: bool = False
    task: Task = "single_label"
    label_counts: Mapping[str, int] | None = None
    train_images: int | None = None
    made: Callable[[str], tuple[ImageSet, ImageSet]] | None = None

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the labels of a published multi-label training set, in order."""
        return None if self.label_counts is None else tuple(self.label_counts)


_CIFAR: dict[str, Any] = {
    "licence": "no licence stated; research use, cite Krizhevsky 2009",
    "image_column": "img",
    "rank_by_index": True,
    "imbalance": 100.0,
    "mean": CIFAR_MEAN,
    "std": CIFAR_STD,
    "published": True,
}
_FASHION: dict[str, Any] = {
    "licence": "MIT, Zalando SE 2017; cite Xiao, Rasul, Vollgraf 2017",
    "image_column": "image",
    "label_column": "label",
    "rank_by_index": True,
    "imbalance": 100.0,
}


def _lists(name: str) -> dict[str, str]:
    """List files of a dataset of Liu et al. 2019, by split."""
    return {"train": f"{name}_train.txt", "test": f"{name}_test.txt", "validation": f"{name}_val.txt"}


ENTRIES: tuple[Entry, ...] = (
    Entry(
        "embedded",
        "500 + 500 images of each of Fashion-MNIST's 10 classes, shipped with the package (default)",
        mean=(0.2873,) * 3,
        std=(0.3544,) * 3,
        **_FASHION,
    ),
    Entry(
        "fashion_mnist",
        "Fashion-MNIST, 60,000 + 10,000 grey images, 10 classes",
        hub_id="zalando-datasets/fashion_mnist",
        mean=(0.2860,) * 3,
        std=(0.3530,) * 3,
        **_FASHION,
    ),
    Entry(
        "cifar10",
        "CIFAR-10, 50,000 + 10,000 images, 10 classes",
        hub_id="uoft-cs/cifar10",
        label_column="label",
        **_CIFAR,
    ),
    Entry(
        "cifar100",
        "CIFAR-100, 50,000 + 10,000 images, 100 classes",
        hub_id="uoft-cs/cifar100",
        label_column="fine_label",
        **_CIFAR,
    ),
    Entry(
        "imagenet_lt",
        "ImageNet-LT, 115,846 + 50,000 images, 1000 classes (list files under --data-dir)",
        "ImageNet terms, non-commercial research; lists: cite Liu et al. 2019",
        lists=_lists("ImageNet_LT"),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Entry(
        "places_lt",
        "Places-LT, 62,500 + 36,500 images, 365 classes (list files under --data-dir)",
        "Places terms, non-commercial research; lists: cite Liu et al. 2019",
        lists=_lists("Places_LT"),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Entry(
        "inaturalist2018",
        "iNaturalist 2018, 437,513 + 24,426 images, 8142 classes (list files under --data-dir)",
        "iNaturalist 2018 terms, non-commercial research; cite Van Horn et al. 2018",
        lists={"train": "iNaturalist18_train.txt", "test": "iNaturalist18_val.txt"},
        mean=(0.466, 0.471, 0.380),
        std=(0.195, 0.194, 0.192),
    ),
    Entry(
        "embedded_mosaics",
        "multi-label: 887 + 2,529 pictures of 1 to 4 embedded images, 10 classes, long-tailed label counts",
        "MIT, Zalando SE 2017; cite Xiao, Rasul, Vollgraf 2017",
        rank_by_index=True,
        task="multi_label",
        made=embedded_mosaics,
    ),
    Entry(
        "voc_mlt",
        "multi-label: VOC-MLT, 1,142 images of VOC2012 + VOC2007 test, 20 classes (--data-dir, --ids)",
        "images: Flickr's terms, cite Everingham et al. 2010; id list: non-commercial, cite Wu et al. 2020",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        task="multi_label",
        label_counts=VOC_COUNTS,
        train_images=VOC_IMAGES,
    ),
    Entry(
        "coco_mlt",
        "multi-label: COCO-MLT, 1,909 images of train2017 + val2017, 80 classes (--ids)",
        "annotations CC BY 4.0, images Flickr's terms, cite Lin et al. 2014; id list: non-commercial, Wu et al. 2020",
        hub_id="detection-datasets/coco",
        label_column="objects.category",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        task="multi_label",
        label_counts=COCO_COUNTS,
        train_images=COCO_IMAGES,
    ),
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training pool and a test pool with the same classes.

    `drawn` is set where the training pool is an exported long-tailed training set rather than the full one;
    `validation` where there are labelled images of every class besides the two pools.
    """

    entry: Entry
    train: ImageSet
    test: ImageSet
    rank_by_index: bool
    mean: Channels | None
    std: Channels | None
    drawn: Drawn | None = None
    validation: ImageSet | None = None

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


def names() -> list[tuple[str, str]]:
    """(name, one line about it) of every named dataset, then the two open forms."""
    return [(entry.name, entry.about) for entry in ENTRIES] + [
        ("OWNER/NAME", "any image dataset of the Hugging Face Hub with a train and a test split"),
        ("FOLDER", "a local folder: image folder, parquet, arrow or save_to_disk"),
    ]


def load(
    name: str,
    data_dir: str | Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    ids: str | Path | None = None,
) -> Dataset:
    """The dataset of a catalog name, a Hub id or a local folder; `data_dir` = read this local copy instead.

    ids: a file that lists the training images to keep of a multi-label dataset, one id a line (VOC-MLT, COCO-MLT).
    Raises BadInput: unknown name, missing or unreadable data, columns, splits or labels that do not fit, training
    images that are not the published ones.
    """
    entry = _entry(name)
    if ids is not None and (entry.lists is not None or entry.made is not None):
        raise BadInput(f"{name} takes no --ids; multi-label datasets whose training images are listed do")
    if entry.made is not None:
        if data_dir is not None:
            raise BadInput(f"{name} is made of the embedded images and takes no --data-dir")
        return _dataset(entry, dict(zip(("train", "test"), entry.made(entry.name), strict=True)))
    if entry.lists is not None:
        if data_dir is None:
            files = " and ".join(entry.lists[split] for split in ("train", "test"))
            raise BadInput(f"{name} needs --data-dir: the folder with {files} and the images")
        return _dataset(entry, load_lists(entry.name, Path(data_dir), entry.lists))
    folder, open_splits = _source(entry, name, None if data_dir is None else Path(data_dir))
    columns = (image_column or entry.image_column, label_column or entry.label_column)
    found = None if ids is None else Path(ids)
    sets = image_sets(entry.name, open_splits(), *columns, entry.labels, found)
    train = sets["train"]
    if entry.label_counts is not None:
        check_counts(entry.name, train.labels, entry.label_counts, entry.train_images)
    entry = replace(entry, task="multi_label") if train.multi_label else entry
    drawn = None if folder is None else read_drawn(folder, train.class_counts())
    if drawn is not None and drawn.source_sha256 is not None and "validation" not in sets:
        raise BadInput(
            f"{folder} was exported with source images, and its validation split is missing; export it again"
        )
    return _dataset(entry, sets, drawn)


def channel_statistics(images: ImageSet) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Mean and standard deviation per RGB channel over all pixels of a split, float64, pixels in [0, 1].

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
    """All pixels of a split, a few images at a time; one channel where those are all grey."""
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


def _source(entry: Entry, name: str, data_dir: Path | None) -> tuple[Path | None, Callable[[], Mapping[str, Any]]]:
    """The local folder (None: the Hub) and the function that opens its splits."""
    folder = data_dir
    if folder is None and entry.name == "embedded":
        folder = EMBEDDED_FOLDER
    if folder is None and entry.hub_id is None:
        if entry.label_counts is not None:
            raise BadInput(f"{name} needs --data-dir: a folder with train and test images and their lists of labels")
        folder = Path(name)
    if folder is not None:
        found = folder
        return found, lambda: open_folder(found)
    return None, lambda: open_hub(str(entry.hub_id))


def _dataset(entry: Entry, sets: Mapping[str, ImageSet], drawn: Drawn | None = None) -> Dataset:
    by_index, mean, std = entry.rank_by_index, entry.mean, entry.std
    if drawn is not None:
        by_index = drawn.rank_by_index
        mean, std = mean or drawn.mean, std or drawn.std
    for split in ("train", "test"):
        _check_classes(sets[split].class_counts(), sets[split])
    validation = sets.get("validation")
    if validation is not None and not validation.class_counts().all():
        validation = None
    return Dataset(entry, sets["train"], sets["test"], by_index, mean, std, drawn, validation)


def _check_classes(counts: Int[np.ndarray, " classes"], images: ImageSet) -> None:
    if len(counts) < 2:
        raise BadInput(f"{images.name} has one class; at least two are needed")
    absent = np.flatnonzero(counts == 0)
    if len(absent):
        label = f"class {absent[0]} ({images.class_names[absent[0]]})"
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise BadInput(f"{images.name}: {label}{more} has no image in the {images.split} split")
