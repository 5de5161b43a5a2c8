"""Labelled source images: what calibration may look at."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from shifts.images.catalog import Dataset
from shifts.images.imageset import ImageSet
from shifts.labels.draw import indices_sha256, left_out
from shifts.labels.profiles import held_out
from shifts.sets.training import TrainingSet


@dataclass(frozen=True, eq=False)
class SourceImages:
    """Labelled images for estimators that calibrate: int64 `indices` into `pool`, of which `seen` were trained on.

    `indices_sha256` refers to the full pool that they were chosen from, also where they come from an exported folder;
    `pool_fingerprint` tells that pool where it is not the training pool.
    """

    pool: ImageSet
    indices: Int[np.ndarray, " source"]
    seen: int
    indices_sha256: str
    pool_fingerprint: str | None = None


def source_images(dataset: Dataset, training: TrainingSet) -> SourceImages:
    """Return class-balanced source images: left out by the training draw; for natural sets the validation split.

    Where too few are left, training images fill up; not after profile `natural:holdout=N`, if it kept some of every
    class. From an exported folder those that were exported with it, else training images.
    """
    drawn, validation = dataset.drawn, dataset.validation
    if drawn is not None and drawn.source_sha256 is not None and validation is not None:
        return SourceImages(validation, np.arange(len(validation)), drawn.source_seen, drawn.source_sha256)
    pool, trained = dataset.train, training.indices
    if training.profile == "natural" and validation is not None:
        pool, trained = validation, np.empty(0, dtype=np.int64)
    kept_back = held_out(training.profile) > 0
    indices, seen = left_out(pool.labels, trained, dataset.classes, held_out=kept_back)
    other = None if pool is dataset.train else pool.fingerprint
    return SourceImages(pool, indices, seen, indices_sha256(indices), other)
