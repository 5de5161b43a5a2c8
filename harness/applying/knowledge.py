"""What is known of a model before any image comes: labelled source logits, train counts, priors of its experts."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from harness.adapters.parts.contract import Counts
from harness.evidence.arrays import Evidence, Source, of_torch
from harness.evidence.check import LARGEST
from methods.core.priors import ExpertPriors, normalise

_GUESSES = "train_counts are taken from the labels, expert_priors from train_counts as after cross-entropy"


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Of one model: its source images, train counts [C], priors of experts [E, C] and the classes' names [C]."""

    source: Source
    counts: Counts
    expert_priors: ExpertPriors
    classes: np.ndarray

    def evidence(self, logits: Any, views: Any = None) -> Evidence:
        """Return the evidence of images. Raises ValueError for logits of another model or not finite."""
        shown = logits_of(logits)
        _, experts, classes = self.source.logits.shape
        if shown.shape[1:] != (experts, classes):
            raise ValueError(
                f"logits are of {shown.shape[1]} experts and {shown.shape[2]} classes, "
                f"the source has {experts} and {classes}"
            )
        seen = None if views is None else views_of(views, shown.shape)
        return Evidence(shown, views=seen, source=self.source)


def knowledge(logits: Any, labels: Any, train_counts: Any, expert_priors: Any) -> Knowledge:
    """Check what is known and put it together.

    logits: [M, C] or [M, E, C] of source images; labels: [M], whole numbers 0..C-1 for the columns of the logits, or
    any C names, which are then the columns in sorted order, as the columns of a data frame that are named so must be;
    train_counts: [C], None for those of the labels;
    expert_priors: [C] or [E, C], None for the shares of train_counts, which is right after cross-entropy. What is None
    is warned of. Raises ValueError for what does not fit.
    """
    shown = logits_of(logits)
    images, experts, columns = shown.shape
    guessed = [
        name for name, given in (("train_counts", train_counts), ("expert_priors", expert_priors)) if given is None
    ]
    if guessed:
        warnings.warn(f"{' and '.join(guessed)} not given: {_GUESSES}", stacklevel=3)
    names, codes = _classes(labels, columns)
    if len(codes) != images:
        raise ValueError(f"{images} logits and {len(codes)} labels: each source image needs one")
    headings = list(getattr(logits, "columns", ()))
    if set(headings) == set(names) and headings != list(names):
        raise ValueError(f"columns stand in the order {headings}, classes in sorted order: {list(names)}")
    counts = np.bincount(codes, minlength=columns) if train_counts is None else np.asarray(train_counts)
    if train_counts is None and not counts.all():
        raise ValueError(f"no label is of class {names[counts.argmin()]}, so train_counts must be given")
    if counts.shape != (columns,) or not np.issubdtype(counts.dtype, np.integer) or (counts < 1).any():
        raise ValueError(f"train_counts must be {columns} whole numbers >= 1")
    priors = normalise(counts) if expert_priors is None else np.asarray(expert_priors, dtype=np.float64)
    wide = np.broadcast_to(priors, (experts, columns)) if priors.shape == (columns,) else priors
    if wide.shape != (experts, columns):
        raise ValueError(f"expert_priors must be [{columns}] or [{experts}, {columns}], not {list(priors.shape)}")
    return Knowledge(Source(shown, codes, 0), counts.astype(np.int64), ExpertPriors(np.array(wide), False), names)


def logits_of(given: Any) -> Float[np.ndarray, "images experts classes"]:
    """Return logits as float32 [N, E, C]. Raises ValueError for other shapes and numbers that are not finite."""
    array = check_array(of_torch(given), allow_nd=True, dtype="numeric", ensure_min_features=2, input_name="logits")
    if array.ndim > 3 or 0 in array.shape or array.shape[-1] < 2:
        raise ValueError(f"logits must be [images, classes] or [images, experts, classes], not {list(array.shape)}")
    wide = array.astype(np.result_type(array, np.float32), copy=False)
    if wide.max() > LARGEST:
        raise ValueError(f"logits have values beyond {LARGEST:g}")
    made = np.maximum(wide if wide.ndim == 3 else wide[:, None], -LARGEST)
    return np.ascontiguousarray(made, dtype=np.float32)


def views_of(given: Any, shape: tuple[int, ...]) -> Float[np.ndarray, "pairs 2 images experts classes"]:
    """Return views of logits of this shape as float32. Raises ValueError as `logits_of`."""
    array = np.asarray(of_torch(given), dtype=np.float32)
    if array.ndim != 5 or array.shape[1:] != (2, *shape) or not len(array) or not np.isfinite(array).all():
        raise ValueError(
            f"views must be finite and [pairs >= 1, 2, {', '.join(map(str, shape))}], not {list(array.shape)}"
        )
    return array


def _classes(labels: Any, columns: int) -> tuple[np.ndarray, Int[np.ndarray, " images"]]:
    """Return the classes' names, one a column, and each label as a column's number."""
    if labels is None:
        raise ValueError("requires y to be passed, but the target y is None")
    array = column_or_1d(labels, warn=True)
    check_classification_targets(array)
    if np.issubdtype(array.dtype, np.integer) and len(array) and array.min() >= 0 and array.max() < columns:
        return np.arange(columns), array.astype(np.int64)
    names, codes = np.unique(array, return_inverse=True)
    if len(names) != columns:
        raise ValueError(f"labels have {len(names)} classes, logits {columns} columns")
    return names, codes.astype(np.int64)
