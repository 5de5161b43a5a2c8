"""What a single-label row gives by itself: its figures, computed again from the counts, bins and bits that it holds."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from math import inf, isfinite, log
from typing import Any

import numpy as np

from harness.checking.findings import Fault, Nothing, Outcome, Unknown, compared
from harness.choice.pairs import correctness, image_classes
from harness.measures.metrics import BINS, METRICS_VERSION, ece_from_bins, group_accuracies, shot_groups
from harness.measures.statistics import wilson
from harness.records.rows import Row
from shifts.common.files import digest
from shifts.labels.distance import total_variation
from shifts.labels.shift import MAX_SEED

ROUNDED = 1.5e-6
"""Twice what six decimals leave out, and a little: figures of redraws are rounded to so many."""
SLACK = 1e-6
"""Of sums of many numbers that were rounded one by one."""
SHARES: tuple[str, ...] = (
    "top1",
    "top1_low",
    "top1_high",
    "many",
    "medium",
    "few",
    "macro",
    "ece",
    "mcnemar_p_to_mean",
)
SHARES += ("expected_top1", "tv_train_test", "tv_experts_test_mean", "etvd", "tv_estimate_test", "tv_predicted_test")
SHARES += ("reported_value",)
AMOUNTS = ("nll", "train_seconds", "evidence_seconds", "adapt_seconds", "source_n", "source_seen")
AT_LEAST_ONE = ("train_imbalance", "train_n", "n", "parameters", "macs", "mean_experts", "views", "shift_ratio")
HASHES: tuple[str, ...] = ("row_id", "train_fingerprint", "test_fingerprint", "train_counts_sha256", "recipe_sha256")
HASHES += ("checkpoint_sha256", "indices_sha256")
MAY_LACK = ("many", "medium", "few", "tv_estimate_test")
"""What a redraw may have no value of."""
REDRAW = ("draw_seed", "n", "top1", "many", "medium", "few", "delta_to_mean", "tv_predicted_test", "tv_estimate_test")


def numbers(row: Row) -> Outcome:
    """Check every figure of a row for NaN, range and length; nothing else can be computed of one at fault."""
    said = next(chain(not_finite(vars(row)), hashes(row), _lengths(row), _ranges(row), _redraws(row)), None)
    return None if said is None else Fault(said)


def not_finite(values: Any, name: str = "") -> Iterator[str]:
    """Yield what is NaN or infinite in a value, however deep it lies."""
    if isinstance(values, float):
        if not isfinite(values):
            yield f"{name} is {values}"
    elif isinstance(values, dict):
        for key, value in values.items():
            yield from not_finite(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list) and not {*map(type, values)} <= {int, str}:
        for value in values:
            yield from not_finite(value, name)


def hashes(row: Any) -> Iterator[str]:
    """Yield the fields that should be a SHA-256 and are none."""
    for name in HASHES:
        value = getattr(row, name)
        if value is not None and not re.fullmatch("[0-9a-f]{64}", value):
            yield f"{name} is {value[:16]!r}, no SHA-256"


def out_of(row: Any, names: Sequence[str], low: float, high: float = inf) -> Iterator[str]:
    """Yield the fields whose value, where there is one, lies outside low..high."""
    for name in names:
        value = getattr(row, name)
        if value is not None and not low <= value <= high:
            yield f"{name} is {value}, not in {low:g}..{high:g}"


def _lengths(row: Row) -> Iterator[str]:
    classes = len(row.per_class_total)
    for name in ("train_counts", "per_class_correct", "predicted", "prior_estimate"):
        values = getattr(row, name)
        if values is not None and len(values) != classes:
            yield f"{name} has {len(values)} entries for {classes} classes"
            return
    for name in ("bins_count", "bins_correct", "bins_confidence"):
        if len(getattr(row, name)) != BINS:
            yield f"{name} has {len(getattr(row, name))} entries, not {BINS}"
    for name in ("train_counts", "per_class_correct", "per_class_total", "predicted", "bins_count", "bins_correct"):
        if min(getattr(row, name), default=0) < 0:
            yield f"{name} has a negative entry"
    if not any(row.train_counts):
        yield "train_counts are all zero"
    if sum(row.per_class_total) != row.n or sum(row.predicted) != row.n:
        yield f"n is {row.n}, and classes hold {sum(row.per_class_total)} images, predictions {sum(row.predicted)}"
    elif (np.array(row.per_class_correct) > np.minimum(row.per_class_total, row.predicted)).any():
        yield "per_class_correct has more images than the class or its predictions"
    try:
        correctness(row)
    except ValueError as error:
        yield str(error)


def _ranges(row: Row) -> Iterator[str]:
    yield from out_of(row, SHARES, 0, 1)
    yield from out_of(row, AMOUNTS, 0)
    yield from out_of(row, AT_LEAST_ONE, 1)
    yield from out_of(row, ("delta_to_mean",), -1, 1)
    yield from out_of(row, ("draw_seed", "shift_seed", "train_subset_seed"), 0, MAX_SEED)
    yield from out_of(row, ("entropy",), 0, log(max(len(row.per_class_total), 1)) + SLACK)
    if row.source_seen > row.source_n:
        yield f"source_seen is {row.source_seen} of {row.source_n}"
    for name in ("prior_estimate", "preference"):
        values = getattr(row, name)
        if values is not None and (min(values, default=0) < 0 or abs(sum(values) - 1) > 1e-3):
            yield f"{name} is no distribution"


def _redraws(row: Row) -> Iterator[str]:
    for one in row.redraws:
        if set(one) != set(REDRAW):
            yield f"a redraw has other fields: {sorted(set(one) ^ set(REDRAW))}"
            continue
        for name in REDRAW:
            value, least = one[name], -1 if name == "delta_to_mean" else 0
            most = inf if name in ("n", "draw_seed") else 1
            if value is None and name in MAY_LACK:
                continue
            if not (isinstance(value, int | float) and least <= value <= most):
                yield f"{name} of a redraw is {value}, not in {least}..{most:g}"


def accuracy(row: Row) -> Outcome:
    """Check what the stored bits give: accuracies of the draw, of classes and of groups, and the interval."""
    if row.metrics_version != METRICS_VERSION:
        return Unknown(f"metrics of version {row.metrics_version}; this program has {METRICS_VERSION}")
    correct = correctness(row)
    total = np.array(row.per_class_total)
    hits = np.bincount(image_classes(row)[correct], minlength=len(total))
    low, high = wilson(int(correct.sum()), row.n)
    groups = group_accuracies(hits, total, shot_groups(row.train_counts))
    return compared(
        [
            ("top1", row.top1, float(correct.mean())),
            ("per_class_correct", list(row.per_class_correct), hits.tolist()),
            ("top1_low", row.top1_low, low),
            ("top1_high", row.top1_high, high),
            *((name, getattr(row, name), value) for name, value in groups.items()),
            ("macro", row.macro, float((hits[total > 0] / total[total > 0]).mean())),
        ]
    )


def calibration(row: Row) -> Outcome:
    """Check the bins of confidence: their sums, their bounds, and the calibration error that they give."""
    if row.metrics_version != METRICS_VERSION:
        return Unknown(f"metrics of version {row.metrics_version}; this program has {METRICS_VERSION}")
    count, right, confidence = (np.array(getattr(row, f"bins_{name}")) for name in ("count", "correct", "confidence"))
    upper = np.arange(1, BINS + 1) / BINS
    if (right > count).any():
        return Fault("a bin has more right answers than images")
    if (confidence > count * upper + SLACK).any() or (confidence < count * (upper - 1 / BINS) - SLACK).any():
        return Fault("a bin's confidences lie outside of the bin")
    return compared(
        [
            ("sum of bins_count", int(count.sum()), row.n),
            ("sum of bins_correct", int(right.sum()), sum(row.per_class_correct)),
            ("ece", row.ece, ece_from_bins(count, right, confidence)),
        ]
    )


def distances(row: Row) -> Outcome:
    """Check sizes and distances that stored counts and the stored estimate give."""
    estimate = row.prior_estimate
    return compared(
        [
            ("train_n", row.train_n, sum(row.train_counts)),
            ("train_counts_sha256", row.train_counts_sha256, digest(row.train_counts)),
            ("tv_train_test", row.tv_train_test, _tv(row.train_counts, row)),
            ("tv_predicted_test", row.tv_predicted_test, _tv(row.predicted, row)),
            ("tv_estimate_test", row.tv_estimate_test, None if estimate is None else _tv(estimate, row)),
        ]
    )


def _tv(values: Sequence[float], row: Row) -> float:
    return total_variation(np.array(values), np.array(row.per_class_total))


def redraws(row: Row) -> Outcome:
    """Check that further draws have seeds 1, 2, ..., the published draw's size, and accuracies of whole images."""
    if not row.redraws:
        return Nothing()
    if [one["draw_seed"] for one in row.redraws] != list(range(1, len(row.redraws) + 1)):
        return Fault("seeds of redraws are not 1, 2, ...")
    for one in row.redraws:
        if one["n"] != row.n:
            return Fault(f"redraw {one['draw_seed']} has {one['n']} images, the draw {row.n}")
        for name in ("top1", "delta_to_mean"):
            images = one[name] * row.n
            if abs(images - round(images)) > ROUNDED * row.n:
                return Fault(f"{name} of redraw {one['draw_seed']} is {one[name]}: {images:.3f} images of {row.n}")
    return None
