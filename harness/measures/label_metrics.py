"""Mean average precision of label sets, by label frequency, with bootstrap intervals; F1 at a fixed threshold.

Average precision of a label: sum_k (R_k - R_{k-1}) P_k over the distinct scores, highest first (scikit-learn's
`average_precision_score`, which this equals; here for many resamples at once). Groups come from *train* label counts
as in VOC-LT and COCO-LT (Wu et al., ECCV 2020): head >= 100, medium 20..99, tail < 20. A label without a positive image
in the draw has no average precision (None) and is in no mean. F1 = 2 TP / (2 TP + FP + FN) of "logit > 0", over all
labels together (micro) and as a mean over those with a positive (macro). All in float64.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy.typing import ArrayLike

from shifts.common.errors import WorkFailed

METRICS_VERSION = 2
"""Raised whenever a number below changes for the same input; part of every row's identity."""

RESAMPLES = 1000
LEVEL = 0.95
CHUNK = 2**22
"""Values in memory at a time, of resamples x images."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Metrics:
    """Everything a row says of one draw. mAPs are fractions of 1; None where a group has no label in the draw.

    intervals: (low, high) of `map`, `head`, `medium` and `tail` (95%, basic bootstrap over images).
    per_class_ap, per_class_positives: one value a label, in order. per_class_predicted, per_class_right: images for
    which a label was predicted, and those of them that have it.
    """

    n: int
    map: float
    head: float | None
    medium: float | None
    tail: float | None
    intervals: dict[str, Interval | None]
    per_class_ap: tuple[float | None, ...]
    per_class_positives: tuple[int, ...]
    f1_micro: float
    f1_macro: float
    per_class_predicted: tuple[int, ...]
    per_class_right: tuple[int, ...]


def evaluate(
    scores: Float[np.ndarray, "images classes"],
    labels: UInt8[np.ndarray, "images classes"],
    train_counts: Int[np.ndarray, " classes"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Metrics:
    """Return the metrics of one draw from raw scores, logits, and multi-hot labels.

    Only F1 looks at more than the order of the scores.
    Raises WorkFailed for scores that are not finite, ValueError for shapes that do not fit and for a draw without any
    label.
    """
    labels = np.asarray(labels)
    if scores.ndim != 2 or scores.shape != labels.shape or np.shape(train_counts) != scores.shape[1:]:
        raise ValueError(f"scores {scores.shape}, labels {labels.shape}, train counts {np.shape(train_counts)}")
    if not np.isfinite(scores).all():
        raise WorkFailed(f"the scores of {int((~np.isfinite(scores)).any(axis=1).sum())} test images are not finite")
    groups = label_groups(train_counts)
    precisions = average_precisions(scores, labels)
    if np.isnan(precisions).all():
        raise ValueError("no image of the draw has a label")
    predicted, positive = scores > 0, labels.astype(bool)
    right = (predicted & positive).sum(axis=0)
    sums = predicted.sum(axis=0) + positive.sum(axis=0)  # 2 TP + FP + FN
    present = positive.any(axis=0)
    means = {name: _mean(precisions[None, members])[0] for name, members in groups.items()}
    spread = bootstrap(scores, labels, groups, {name: float(mean) for name, mean in means.items()}, resamples, seed)
    return Metrics(
        n=len(scores),
        map=float(means["map"]),
        head=_known(means["head"]),
        medium=_known(means["medium"]),
        tail=_known(means["tail"]),
        intervals=spread,
        per_class_ap=tuple(_known(value) for value in precisions),
        per_class_positives=tuple(labels.sum(axis=0, dtype=np.int64).tolist()),
        f1_micro=float(2 * right.sum() / sums.sum()),
        f1_macro=float((2 * right[present] / sums[present]).mean()),
        per_class_predicted=tuple(predicted.sum(axis=0).tolist()),
        per_class_right=tuple(right.tolist()),
    )


def label_groups(train_counts: ArrayLike) -> dict[str, Int[np.ndarray, " group"]]:
    """Return the label indices of `map` (all), `head` (>= 100 training images), `medium` and `tail` (< 20)."""
    counts = np.asarray(train_counts)
    head, tail = counts >= 100, counts < 20
    masks = {"map": np.ones(len(counts), dtype=bool), "head": head, "medium": ~head & ~tail, "tail": tail}
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}


def average_precisions(
    scores: Float[np.ndarray, "images classes"], labels: UInt8[np.ndarray, "images classes"]
) -> Float[np.ndarray, " classes"]:
    """Average precision of each label; NaN where no image has it."""
    once = np.ones((1, len(scores)))
    return np.array([_weighted(scores[:, c], labels[:, c], once)[0] for c in range(scores.shape[1])])


def bootstrap(
    scores: Float[np.ndarray, "images classes"],
    labels: UInt8[np.ndarray, "images classes"],
    groups: dict[str, Int[np.ndarray, " group"]],
    means: dict[str, float],
    resamples: int,
    seed: int,
) -> dict[str, Interval | None]:
    """Return basic bootstrap intervals of each group's mAP, `means`.

    They are over images drawn with replacement, as many as there are.
    With a and b the 2.5% and 97.5% quantiles of the resamples' mAP, [2 mAP - b, 2 mAP - a] within [0, 1] (Davison and
    Hinkley, 1997). Average precision over few positives is too high, and in resamples, which hold images twice, again
    so: this interval takes that off, the one from a to b would double it. A resample's mean is over the labels that
    have a positive image in it. None for a group without one in any.
    """
    images, classes = scores.shape
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK // images)
    parts = []
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        weights = generator.multinomial(images, np.full(images, 1 / images), size=count).astype(np.float64)
        parts.append(np.stack([_weighted(scores[:, c], labels[:, c], weights) for c in range(classes)], axis=1))
    precisions = np.concatenate(parts)
    found: dict[str, Interval | None] = {}
    for name, members in groups.items():
        again = _mean(precisions[:, members])
        again = again[~np.isnan(again)]
        if np.isnan(means[name]) or not len(again):
            found[name] = None
            continue
        low, high = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
        found[name] = max(0.0, 2 * means[name] - high), min(1.0, 2 * means[name] - low)
    return found


def _weighted(
    scores: Float[np.ndarray, " images"],
    labels: UInt8[np.ndarray, " images"],
    weights: Float[np.ndarray, "resamples images"],
) -> Float[np.ndarray, " resamples"]:
    """Average precision of one label in each resample, whose images count `weights` times; NaN without a positive."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    # Images of equal scores enter together: precision and recall are read at the last of them.
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    weights = weights[:, order]
    seen = weights.cumsum(axis=1)[:, last]
    right = (weights * labels[order]).cumsum(axis=1)[:, last]
    gained = np.diff(right, axis=1, prepend=0)
    with np.errstate(invalid="ignore"):
        return (gained * (right / np.maximum(seen, 1))).sum(axis=1) / right[:, -1]


def _mean(values: Float[np.ndarray, "rows members"]) -> Float[np.ndarray, " rows"]:
    """Return the mean of each row's values that are not NaN; NaN where there are none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
