"""The multi-label part of the leaderboard: one summary entry per setting and shift, over train seeds."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from harness.multi_label.rows import LabelRow
from harness.statistics import mean_sd

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
VERSIONS = ("train_version", "method_version", "adapter_version", "evidence_version", "metrics_version")
GROUPS = ("map", "head", "medium", "tail")

Entry = dict[str, Any]


def build(found: Iterable[LabelRow]) -> dict[str, Any]:
    """The part of these rows: `entries` per (setting, shift), sorted.

    Of rows of several versions of a program part only the newest count; how many were left out is `superseded`.
    """
    groups: dict[str, list[LabelRow]] = defaultdict(list)
    for row in found:
        groups[json.dumps([_pick(row, SETTING), _pick(row, SHIFT)], sort_keys=True)].append(row)
    entries, superseded = [], 0
    for group in groups.values():
        newest = max(_versions(row) for row in group)
        kept = [row for row in group if _versions(row) == newest]
        superseded += len(group) - len(kept)
        entries.append(_entry(kept))
    entries.sort(key=lambda entry: json.dumps(entry, sort_keys=True))
    entries.sort(key=lambda entry: tuple(str(entry[name]) for name in ("dataset", "method", "recipe", "shift")))
    return {"superseded": superseded, "entries": entries}


def _entry(group: Sequence[LabelRow]) -> Entry:
    """Summary of one setting on one shift over train seeds; mAPs are fractions."""
    group = sorted(group, key=lambda row: (row.train_seed is not None, row.train_seed or 0))
    first = group[0]
    return (
        _pick(first, SETTING)
        | _pick(first, SHIFT)
        | {name: _average([getattr(row, name) for row in group]) for name in GROUPS}
        | {f"{name}_interval": getattr(first, f"{name}_interval") if len(group) == 1 else None for name in GROUPS}
        | {
            "train_seeds": [row.train_seed for row in group],
            "train_counts": first.train_counts,
            "per_class_positives": first.per_class_positives,
            "per_class_ap": [_mean(values) for values in zip(*(row.per_class_ap for row in group), strict=True)],
            "reported": None
            if first.reported_value is None
            else {
                "value": first.reported_value,
                "source": first.reported_source,
                "primary": first.reported_primary,
            },
            "row_ids": [row.row_id for row in group],
        }
    )


def _average(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean and standard deviation (None for one seed) over train seeds; None where the group has no label."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    summary = mean_sd(known)
    return {"mean": summary.mean, "sd": summary.sd, "n": summary.n}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _pick(row: LabelRow, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _versions(row: LabelRow) -> tuple[int, ...]:
    return tuple(getattr(row, name) or 0 for name in VERSIONS)
