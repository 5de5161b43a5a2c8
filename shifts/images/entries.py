"""Named datasets, one declarative entry each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shifts.images.imageset import ImageSet
from shifts.images.longtailed import COCO_COUNTS, COCO_IMAGES, VOC_COUNTS, VOC_IMAGES
from shifts.images.mosaics import embedded_mosaics
from shifts.images.published import Content

Task = Literal["single_label", "multi_label"]


Channels = tuple[float, float, float]


CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Entry:
    """One dataset, declared. `mean` and `std` are per channel in [0, 1]; None = computed from the training pool.

    `imbalance` is the default training imbalance (None: natural). `lists` are the list files of list-file data by
    split, of which the one of validation may be missing. `content` is what the published data hold; `eleven` says that
    the eleven published shifts are drawn from this very pool. A published multi-label training set has its label
    counts by class, in order, and its number of images, which what is loaded must have. `made` makes train and test
    instead of reading them.
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
    content: Content | None = None
    eleven: bool = False
    task: Task = "single_label"
    label_counts: Mapping[str, int] | None = None
    train_images: int | None = None
    made: Callable[[str], tuple[ImageSet, ImageSet]] | None = None

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The names of the labels of a published multi-label training set, in order."""
        return None if self.label_counts is None else tuple(self.label_counts)


_CIFAR: dict[str, Any] = {
    "licence": "no licence stated; research use, cite Krizhevsky 2009",
    "image_column": "img",
    "rank_by_index": True,
    "imbalance": 100.0,
    "mean": CIFAR_MEAN,
    "std": CIFAR_STD,
    "eleven": True,
}


_FASHION: dict[str, Any] = {
    "licence": "MIT, Zalando SE 2017; cite Xiao, Rasul, Vollgraf 2017",
    "image_column": "image",
    "label_column": "label",
    "rank_by_index": True,
    "imbalance": 100.0,
}


def _lists(name: str) -> dict[str, str]:
    """Return the list files of a dataset of Liu et al. 2019, by split."""
    return {"train": f"{name}_train.txt", "test": f"{name}_test.txt", "validation": f"{name}_val.txt"}


ENTRIES: tuple[Entry, ...] = (
    Entry(
        "embedded",
        "500 + 500 images of each of Fashion-MNIST's 10 classes, shipped with the package (default)",
        content=Content(
            10,
            5_000,
            5_000,
            fingerprints=(
                "d4847eada819424ea1df452ceb4a9d653133fb2eace93da89fa2899e48fb856a",
                "6537bbce74f12bdf2b4bed46c72ac96c042a52a9b26603a478e22581eba8b49f",
            ),
        ),
        mean=(0.2873,) * 3,
        std=(0.3544,) * 3,
        **_FASHION,
    ),
    Entry(
        "fashion_mnist",
        "Fashion-MNIST, 60,000 + 10,000 grey images, 10 classes",
        hub_id="zalando-datasets/fashion_mnist",
        content=Content(10, 60_000, 10_000),
        mean=(0.2860,) * 3,
        std=(0.3530,) * 3,
        **_FASHION,
    ),
    Entry(
        "cifar10",
        "CIFAR-10, 50,000 + 10,000 images, 10 classes",
        hub_id="uoft-cs/cifar10",
        content=Content(10, 50_000, 10_000),
        label_column="label",
        **_CIFAR,
    ),
    Entry(
        "cifar100",
        "CIFAR-100, 50,000 + 10,000 images, 100 classes",
        hub_id="uoft-cs/cifar100",
        content=Content(
            100,
            50_000,
            10_000,
            fingerprints=(
                "30a4a4646231573331f499ce8cb59dad7b4de0008a2f36cfa6ca76ac69035d38",
                "120431b68479769bb26cd62eeb95efd9806ec250d5d7fa30d53c9261282aee9e",
            ),
        ),
        label_column="fine_label",
        **_CIFAR,
    ),
    Entry(
        "imagenet_lt",
        "ImageNet-LT, 115,846 + 50,000 images, 1000 classes (list files under --data-dir)",
        "ImageNet terms, non-commercial research; lists: cite Liu et al. 2019",
        lists=_lists("ImageNet_LT"),
        content=Content(1000, 115_846, 50_000, balanced=False),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Entry(
        "places_lt",
        "Places-LT, 62,500 + 36,500 images, 365 classes (list files under --data-dir)",
        "Places terms, non-commercial research; lists: cite Liu et al. 2019",
        lists=_lists("Places_LT"),
        content=Content(365, 62_500, 36_500, balanced=False),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Entry(
        "inaturalist2018",
        "iNaturalist 2018, 437,513 + 24,426 images, 8142 classes (list files under --data-dir)",
        "iNaturalist 2018 terms, non-commercial research; cite Van Horn et al. 2018",
        lists={"train": "iNaturalist18_train.txt", "test": "iNaturalist18_val.txt"},
        content=Content(8142, 437_513, 24_426, balanced=False),
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


def names() -> list[tuple[str, str]]:
    """Return (name, one line about it) of every named dataset, then of the two open forms."""
    return [(entry.name, entry.about) for entry in ENTRIES] + [
        ("OWNER/NAME", "any image dataset of the Hugging Face Hub with a train and a test split"),
        ("FOLDER", "a local folder: train/CLASS/*.png and test/CLASS/*.png, Parquet, Arrow, CSV or save_to_disk"),
    ]
