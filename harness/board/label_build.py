"""The multi-label part of the leaderboard: one summary entry per setting and shift, over train seeds."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from harness.board.entries import Entry, average, by_seed, newest, pick, reported, rounded
from harness.records.label_rows import LabelRow

SETTING = [
    "task",
    "dataset",
    "train_fingerprint",
    "test_fingerprint",
    "test_split",
    "train_n",
    "train_labels_per_image",
    "train_counts_sha256",
    "method",
    "backbone",
    "initial_weights",
    "branches",
    "parameters",
    "macs",
    "recipe",
    "recipe_sha256",
    "epochs",
    "adapter",
    "prior_access",
    "label_access",
    "test_access",
    "selection",
]
"""Row fields that make one line, whatever the shift."""
SHIFT = [
    "shift",
    "shift_kind",
    "shift_ratio",
    "shift_origin",
    "n",
    "labels_per_image",
    "indices_sha256",
    "tv_train_test",
    "tv_wanted",
]
GROUPS = ("map", "head", "medium", "tail")
F1 = ("f1_micro", "f1_macro")


def build(found: Iterable[LabelRow]) -> dict[str, Any]:
    """The part of these rows: `entries` per (setting, shift), sorted.

    Of rows of several versions of a program part only the newest count; how many were left out is `superseded`.
    """
    groups: dict[str, list[LabelRow]] = defaultdict(list)
    for row in found:
        groups[json.dumps([pick(row, SETTING), pick(row, SHIFT), row.evidence_precision], sort_keys=True)].append(row)
    entries, superseded = [], 0
    for group in groups.values():
        kept = newest(group)
        superseded += len(group) - len(kept)
        entries.append(_entry(kept))
    entries.sort(key=lambda entry: json.dumps(entry, sort_keys=True))
    entries.sort(key=lambda entry: tuple(str(entry[name]) for name in ("dataset", "method", "recipe", "shift")))
    return {"superseded": superseded, "entries": entries}


def _entry(group: Sequence[LabelRow]) -> Entry:
    """Summary of one setting on one shift over train seeds; mAPs are fractions. Only odd precisions are named."""
    group = by_seed(group)
    first = group[0]
    return (
        pick(first, SETTING)
        | pick(first, SHIFT)
        | ({} if first.evidence_precision == "fp32" else {"evidence_precision": first.evidence_precision})
        | {name: average([getattr(row, name) for row in group]) for name in (*GROUPS, *F1)}
        | {
            f"{name}_interval": rounded(getattr(first, f"{name}_interval")) if len(group) == 1 else None
            for name in GROUPS
        }
        | {
            "train_seeds": [row.train_seed for row in group],
            "train_counts": first.train_counts,
            "per_class_positives": first.per_class_positives,
            "per_class_ap": [_mean(values) for values in zip(*(row.per_class_ap for row in group), strict=True)],
            "reported": reported(first),
            "row_ids": [row.row_id for row in group],
        }
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return rounded(sum(known) / len(known)) if known else None
