"""The multi-label part of the leaderboard: one summary entry per setting and shift, over train seeds."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, cast

from harness.board.entries import average, by_seed, newest, pick, reported, rounded
from harness.board.schema import LabelEntry, LabelPart, LabelSetting, LabelTestSet
from harness.records.label_rows import LabelRow

SETTING = tuple(LabelSetting.__annotations__)
"""Row fields that make one line, whatever the shift."""
TEST_SET = tuple(LabelTestSet.__annotations__)
"""Row fields that tell which test set."""
GROUPS: tuple[Literal["map", "head", "medium", "tail"], ...] = ("map", "head", "medium", "tail")
F1: tuple[Literal["f1_micro", "f1_macro"], ...] = ("f1_micro", "f1_macro")


def build(found: Iterable[LabelRow]) -> LabelPart:
    """Return the part of these rows: `entries` per (setting, shift), sorted.

    Of rows of several versions of a program part only the newest count; how many were left out is `superseded`.
    """
    groups: dict[str, list[LabelRow]] = defaultdict(list)
    for row in found:
        groups[json.dumps([pick(row, SETTING), pick(row, TEST_SET), row.evidence_precision], sort_keys=True)].append(
            row
        )
    entries, superseded = [], 0
    for group in groups.values():
        kept = newest(group)
        superseded += len(group) - len(kept)
        entries.append(_entry(kept))
    entries.sort(key=lambda entry: json.dumps(entry, sort_keys=True))
    entries.sort(key=lambda entry: (entry["dataset"], entry["method"], str(entry["recipe"]), entry["shift"]))
    return {"superseded": superseded, "entries": entries}


def _entry(group: Sequence[LabelRow]) -> LabelEntry:
    """Return the summary of one setting on one shift over train seeds.

    mAPs are fractions. Only odd precisions are named.
    """
    group = by_seed(group)
    first = group[0]
    return cast(
        LabelEntry,
        pick(first, SETTING)
        | pick(first, TEST_SET)
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
        },
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return rounded(sum(known) / len(known)) if known else None
