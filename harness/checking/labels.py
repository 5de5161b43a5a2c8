"""What a multi-label row gives by itself: its figures, computed again from what it holds of each label."""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from harness.checking.figures import hashes, not_finite, out_of
from harness.checking.findings import Fault, Outcome, Unknown, compared
from harness.measures.label_metrics import METRICS_VERSION, label_groups
from harness.records.label_rows import LabelRow
from shifts.common.files import digest
from shifts.labels.distance import total_variation

GROUPS = ("map", "head", "medium", "tail")
PER_LABEL = ("train_counts", "per_class_positives", "per_class_ap", "per_class_predicted", "per_class_right")
SHARES = (*GROUPS, "f1_micro", "f1_macro", "tv_train_test", "tv_wanted", "reported_value")
AMOUNTS = ("train_labels_per_image", "labels_per_image", "train_seconds", "evidence_seconds")


def numbers(row: LabelRow) -> Outcome:
    """Check every figure of a row for NaN, range and length; nothing else can be computed of one at fault."""
    said = next(chain(not_finite(vars(row)), hashes(row), _lengths(row), _ranges(row)), None)
    return None if said is None else Fault(said)


def _lengths(row: LabelRow) -> Iterator[str]:
    for name in PER_LABEL:
        values = getattr(row, name)
        if values is not None and len(values) != len(row.train_counts):
            yield f"{name} has {len(values)} entries for {len(row.train_counts)} labels"
        if values is not None and min((value for value in values if value is not None), default=0) < 0:
            yield f"{name} has a negative entry"
    if max((value for value in row.per_class_ap if value is not None), default=2) > 1:
        yield "per_class_ap has no entry, or one above 1"
    if not any(row.train_counts) or not any(row.per_class_positives):
        yield "train_counts or per_class_positives are all zero"


def _ranges(row: LabelRow) -> Iterator[str]:
    yield from out_of(row, SHARES, 0, 1)
    yield from out_of(row, AMOUNTS, 0)
    yield from out_of(row, ("train_n", "n", "branches", "parameters", "macs"), 1)
    for name in GROUPS:
        interval = getattr(row, f"{name}_interval")
        if interval is not None and not (len(interval) == 2 and 0 <= interval[0] <= interval[1] <= 1):
            yield f"{name}_interval is {interval}"


def accuracy(row: LabelRow) -> Outcome:
    """Check mean average precisions over labels and F1, which what is stored of each label gives."""
    if row.metrics_version != METRICS_VERSION:
        return Unknown(f"label metrics of version {row.metrics_version}; this program has {METRICS_VERSION}")
    pairs: list[tuple[str, object, object]] = []
    for name, members in label_groups(row.train_counts).items():
        known = [value for value in np.array(row.per_class_ap, dtype=object)[members] if value is not None]
        pairs.append((name, getattr(row, name), sum(known) / len(known) if known else None))
    if row.per_class_predicted is not None and row.per_class_right is not None:
        predicted, right, positive = map(
            np.array, (row.per_class_predicted, row.per_class_right, row.per_class_positives)
        )
        if (right > np.minimum(predicted, positive)).any():
            return Fault("per_class_right has more images than the label or its predictions")
        sums, present = predicted + positive, positive > 0
        pairs.append(("f1_micro", row.f1_micro, float(2 * right.sum() / sums.sum())))
        pairs.append(("f1_macro", row.f1_macro, float((2 * right[present] / sums[present]).mean())))
    return compared(pairs)


def distances(row: LabelRow) -> Outcome:
    """Check sizes and distances that stored counts give."""
    positives = np.array(row.per_class_positives)
    return compared(
        [
            ("train_counts_sha256", row.train_counts_sha256, digest(row.train_counts)),
            ("train_labels_per_image", row.train_labels_per_image, sum(row.train_counts) / row.train_n),
            ("labels_per_image", row.labels_per_image, float(positives.sum() / row.n)),
            ("tv_train_test", row.tv_train_test, total_variation(np.array(row.train_counts), positives)),
        ]
    )
