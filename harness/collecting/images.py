"""Images where they lie, as batches that a model of anybody's takes: a dataset's split, or a folder without labels."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from methods.pixels.crops import rgb
from shifts.common.errors import BadInput, WorkFailed
from shifts.images.imageset import FileStore, ImageSet
from shifts.images.reading.paths import files_under, is_hidden, is_image, shown

AHEAD = 2
"""Batches that each worker has ready or in work."""


@dataclass(frozen=True, eq=False)
class Pictures(Dataset[Any]):
    """Images of a split as (transformed, label or None, name); or, in place of one, why there is none.

    chosen: which images, all of them where None.
    """

    images: ImageSet
    transform: Callable[[Image.Image], Tensor]
    chosen: Int[np.ndarray, " images"] | None = None
    labelled: bool = False

    @property
    def fingerprint(self) -> str:
        """The digest of the images, whatever is made of them."""
        return self.images.fingerprint if self.chosen is None else self.images.digest(self.chosen.tolist())

    def __len__(self) -> int:
        return len(self.images if self.chosen is None else self.chosen)

    def __getitem__(self, place: int) -> Any:
        index = place if self.chosen is None else int(self.chosen[place])
        try:
            (pixels,) = self.images.decoded([index])
        except WorkFailed as failed:
            # Raised here it would reach the user as a worker's traceback.
            return failed
        label = int(self.images.labels[index]) if self.labelled else None
        return self.transform(rgb(pixels)), label, name_of(self.images, index)


def name_of(images: ImageSet, index: int) -> str:
    """Return the name of an image's file, or its number."""
    return (images.store.where(index) or str(index)).replace("\n", "\\n")


def loader(pictures: Pictures, batch: int, workers: int, pinned: bool) -> "DataLoader[Any]":
    """Return batches (images, labels, names), or (images, names), in order, decoded by worker processes."""
    return DataLoader(
        pictures,
        batch_size=batch,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pinned,
        prefetch_factor=AHEAD if workers else None,
        # Forked workers inherit the dataset; other ways of starting them would pickle it with its table.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )


def _collate(items: list[Any]) -> Any:
    for item in items:
        if isinstance(item, WorkFailed):
            return item
    tensors, labels, names = zip(*items, strict=True)
    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) > 1:
        return WorkFailed(f"the model's preprocessing gives images of different sizes: {shapes[0]}, {shapes[1]}")
    images = torch.stack(tensors)
    return (images, list(names)) if None in labels else (images, torch.tensor(labels), list(names))


def folder(path: Path) -> ImageSet:
    """Return the images under a folder, at any depth, in the order of their paths; nobody has labelled them.

    Hidden files and files that are no images are left out. Raises BadInput where there is no folder, or no image in it.
    """
    if not path.is_dir():
        raise BadInput(f"--images {path} is no folder")
    found = [parts for parts in files_under(path) if not is_hidden(parts) and is_image(path.joinpath(*parts))]
    if not found:
        raise BadInput(f"--images {path} holds no image")
    paths = tuple("/".join(parts) for parts in found)
    return ImageSet(shown((path.name,)), "images", np.zeros(len(paths), np.int64), (), FileStore(path, paths))
