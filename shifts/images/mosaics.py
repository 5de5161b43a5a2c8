"""`embedded_mosaics`: pictures of 1 to 4 embedded Fashion-MNIST items in a 2 x 2 grid, labelled with their classes.

The embedded multi-label dataset, made when it is loaded and the same on every machine: whole-number arithmetic, seeded
draws, pictures as uncompressed PGM. An item is the 28 x 28 image at half its size; cells without one are black. The
training set is long-tailed in label counts exactly as the reference counts of VOC-LT (Wu et al., ECCV 2020): the
density of a Pareto law with b = 6 at C points from ppf(0) to ppf(0.99), scaled to 800, at least 1. The test pool has
each class equally often. Training pictures are made of training items alone, test pictures of test items alone; test
items stand in one picture each, training items in a few where their class has more labels than images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Int, UInt8

from shifts.images.embedded import FOLDER
from shifts.images.imageset import ImageSet
from shifts.labels.profiles import profile_counts

CELLS = 4
"""Places in a picture, row by row."""
LABELS_A_PICTURE = (0.4, 0.3, 0.2, 0.1)
"""How probable 1, 2, 3 and 4 items are: 2 on average, as VOC-LT's 2.05."""
LARGEST = 800
PARETO_RATIO = 100 ** (7 / 6)
"""Largest over smallest reference count: the density falls as x^-7 and ppf(0.99) = 100^(1/6); 215.4."""
SEED = 0


@dataclass(frozen=True)
class MosaicStore:
    """Pictures put together when they are read. items: uint8 [M, s, s]; cells: index into items [N, 4], -1 = empty."""

    items: UInt8[np.ndarray, "items side side"]
    cells: Int[np.ndarray, "pictures 4"]

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """Return the pictures as binary PGM files of 2 s x 2 s pixels."""
        side = self.items.shape[1]
        padded = np.concatenate([self.items, np.zeros((1, side, side), np.uint8)])
        grid = padded[self.cells[list(indices)]].reshape(-1, 2, 2, side, side)
        pictures = grid.transpose(0, 1, 3, 2, 4).reshape(-1, 2 * side, 2 * side)
        header = f"P5 {2 * side} {2 * side} 255\n".encode()
        return [header + picture.tobytes() for picture in pictures]

    def where(self, index: int) -> str:
        return ""


@cache
def embedded_mosaics(name: str) -> tuple[ImageSet, ImageSet]:
    """Return train and test pictures made of the embedded dataset.

    That is read and decoded once. Raises WorkFailed.
    """
    from shifts.images.reading.local import open_folder

    source = open_folder("embedded", FOLDER, "image", "label").sets
    classes = len(source["train"].class_names)
    reference = profile_counts("pareto", LARGEST, PARETO_RATIO, classes)
    train = mosaics(name, source["train"], np.maximum(reference, 1), SEED)
    test = mosaics(name, source["test"], source["test"].class_counts(), SEED + 1)
    return train, test


def mosaics(name: str, source: ImageSet, counts: Int[np.ndarray, " classes"], seed: int) -> ImageSet:
    """Compose pictures of a single-label split's images (28 x 28, grey): class c occurs `counts[c]` times, int64 [C].

    The images of a class are used in a seeded random order, from the start again when they are used up; cells are
    seeded random too. Raises WorkFailed for an image that cannot be decoded.
    """
    # The legacy generator: its draws are the same under every version of NumPy.
    generator = np.random.RandomState(seed)
    labels = label_sets(counts, generator)
    items = half_size(source.images(np.arange(len(source)))[..., 0])
    cells = np.full((len(labels), CELLS), -1, dtype=np.int64)
    places = generator.random_sample((len(labels), CELLS)).argsort(axis=1, kind="stable")
    taken = labels.cumsum(axis=1) - labels  # which of a picture's places each of its classes has
    for c in range(len(counts)):
        pictures = np.flatnonzero(labels[:, c])
        members = generator.permutation(np.flatnonzero(source.labels == c))
        cells[pictures, places[pictures, taken[pictures, c]]] = np.resize(members, len(pictures))
    return ImageSet(name, source.split, labels, source.class_names, MosaicStore(items, cells))


def label_sets(
    counts: Int[np.ndarray, " classes"], generator: np.random.RandomState
) -> UInt8[np.ndarray, "sets classes"]:
    """Draw multi-hot label sets in which class c occurs exactly `counts[c]` times, in random order.

    One set after the other: a size from `LABELS_A_PICTURE`, then that many different classes, each drawn with a
    probability proportional to what its count still lacks; fewer where fewer classes lack anything.
    """
    lacking = np.array(counts, dtype=np.int64)
    sets = []
    while lacking.any():
        size = int(generator.choice(CELLS, p=LABELS_A_PICTURE)) + 1
        size = min(size, int(np.count_nonzero(lacking)))
        chosen = generator.choice(len(lacking), size, replace=False, p=lacking / lacking.sum())
        made = np.zeros(len(lacking), dtype=np.uint8)
        made[chosen] = 1
        lacking -= made
        sets.append(made)
    return np.stack(sets)[generator.permutation(len(sets))]


def half_size(
    images: UInt8[np.ndarray, "images height width"],
) -> UInt8[np.ndarray, "images half_height half_width"]:
    """Return means of 2 x 2 pixels, rounded to the nearest whole number (halves up)."""
    count, height, width = images.shape
    blocks = images.reshape(count, height // 2, 2, width // 2, 2).astype(np.uint16)
    return ((blocks.sum(axis=(2, 4)) + 2) // 4).astype(np.uint8)
