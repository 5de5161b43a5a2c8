"""The leaderboard: one summary entry per setting over train seeds and draws, derived from stored rows alone.

It is the same byte for byte for the same rows: sorted, without clock reading or host. Numbers and fingerprints are
shortened (`harness.board.entries`), since the rows have them in full. `python -m harness.leaderboard` rebuilds it;
`--pack DIR` also writes the rows as one Parquet file a dataset, the form of `results/reference/`.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast, get_type_hints

from filelock import FileLock

from harness.board import label_build as label_leaderboard
from harness.board.entries import average, by_seed, chosen, newest, pick, reported, rounded
from harness.board.schema import AVERAGES, LEADERBOARD_SCHEMA, Board, Entry, SetsMean, Setting, TestSet
from harness.measures.statistics import mean_sd
from harness.records import label_rows, rows
from harness.records.rows import Row
from shifts.common.errors import BadInput
from shifts.common.files import write_text
from shifts.labels.shift import published_shifts

SETTING = tuple(Setting.__annotations__)
"""Row fields that make one leaderboard line, whatever the shift."""
TEST_SET = tuple(TestSet.__annotations__)
"""Row fields that tell which test set."""
AVERAGED = tuple(name for name, hint in get_type_hints(Entry).items() if hint in AVERAGES)
"""Row fields of which an entry has the mean over train seeds."""


def build(found: Iterable[Row]) -> Board:
    """Return the leaderboard of rows.

    Its `entries` are per (setting, shift), its `means` per setting over the eleven published sets.
    Of rows of several versions of a program part only the newest count; how many were left out is `superseded`.
    """
    found = list(found)
    groups = current(found)
    entries = sorted(map(_entry, groups), key=_entry_order)
    return {
        "schema_version": LEADERBOARD_SCHEMA,
        "superseded": len(found) - sum(map(len, groups)),
        "entries": entries,
        "means": _means(entries),
    }


def current(found: Iterable[Row]) -> list[list[Row]]:
    """Return the rows by (setting, shift, draw), one a train seed.

    Of several versions of a program part only the newest counts.
    """
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in found:
        groups[json.dumps([pick(row, SETTING), row.shift, row.indices_sha256], sort_keys=True)].append(row)
    return [newest(group) for group in groups.values()]


def write(results: Path, check: Callable[[Board], None] = lambda board: None) -> Path:
    """Rebuild `leaderboard.json` of a results folder from its rows, under a lock. Returns its path.

    Multi-label rows have a part of their own, `multi_label`, where there are any. check: called before it is written.

    Raises BadInput if the file there is of a newer schema, WorkFailed for a row that cannot be read.
    """
    where = results / "leaderboard.json"
    results.mkdir(parents=True, exist_ok=True)
    with FileLock(results / ".leaderboard.lock"):
        check_schema(where)
        board = build(rows.load_all(results))
        found = label_rows.load_all(results)
        if found:
            board["multi_label"] = label_leaderboard.build(found)
        check(board)
        write_text(where, as_text(board))
    return where


def as_text(board: Board) -> str:
    """Return the leaderboard as JSON, one line an entry: short, and differences between two can be read."""

    def compact(value: Any) -> str:
        return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))

    parts = [
        f'"{name}":[\n' + ",\n".join(map(compact, value)) + "\n]"
        if isinstance(value, list)
        else f'"{name}":{compact(value)}'
        for name, value in sorted(board.items())
    ]
    return "{" + ",\n".join(parts) + "}\n"


def read(results: Path) -> Board:
    """Return the leaderboard of a results folder."""
    board: Board = json.loads((results / "leaderboard.json").read_text(encoding="utf-8"))
    return board


def check_schema(where: Path) -> None:
    """Raise BadInput if the leaderboard at `where` was written by a newer version or is none."""
    if not where.exists():
        return
    try:
        version = int(json.loads(where.read_text(encoding="utf-8"))["schema_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{where} is no leaderboard; move it away (it is rebuilt from the rows)") from error
    if version > LEADERBOARD_SCHEMA:
        raise BadInput(
            f"{where} has schema {version}, this version writes {LEADERBOARD_SCHEMA}; update, or use another --results"
        )


def _entry(group: Sequence[Row]) -> Entry:
    """Return the summary of one setting on one shift over train seeds; accuracies are fractions."""
    group = by_seed(group)
    first = group[0]
    redraws = [draw["top1"] for row in group for draw in row.redraws]
    spread = [mean_sd([draw["top1"] for draw in row.redraws]).sd for row in group if len(row.redraws) > 1]
    known = [sd for sd in spread if sd is not None]
    return cast(
        Entry,
        pick(first, SETTING)
        | pick(first, TEST_SET)
        | {
            "train_seeds": [row.train_seed for row in group],
            "top1_interval": rounded([first.top1_low, first.top1_high]) if len(group) == 1 else None,
            "tv_train_test": rounded(first.tv_train_test),
            "etvd": rounded(first.etvd),
            "weights": _mean_vector([row.weights for row in group]),
            "preference": _mean_vector([row.preference for row in group]),
            "redraws": len(redraws),
            "redraw_top1": rounded(sum(redraws) / len(redraws)) if redraws else None,
            "subset_sd": rounded(sum(known) / len(known)) if known else None,
            "mcnemar_p_to_mean": rounded([row.mcnemar_p_to_mean for row in group]),
            "adaptation_hurts": bool(all(_hurts(row) for row in group)),
            "reported": reported(first),
            "row_ids": [row.row_id for row in group],
            **{name: average([getattr(row, name) for row in group]) for name in AVERAGED},
        },
    )


def _hurts(row: Row) -> bool:
    """Return whether adaptation lowers accuracy by more than the interval.

    That is so where no adaptation lies above the adapted row's interval.
    """
    return row.top1 - row.delta_to_mean > row.top1_high


def _mean_vector(found: Sequence[list[float] | None]) -> list[float] | None:
    """Return the mean, entry by entry, over the seeds that have one."""
    learned = [values for values in found if values is not None]
    if not learned:
        return None
    return [rounded(sum(column) / len(learned)) for column in zip(*learned, strict=True)]


def _means(entries: Sequence[Entry]) -> list[SetsMean]:
    """Return the mean top-1 over the eleven published shifts, for settings that have them all with the same seeds."""
    wanted = [str(shift) for shift in published_shifts()]
    groups: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        if entry["shift"] in wanted:
            key = json.dumps(chosen(entry, SETTING), sort_keys=True)
            groups[key][entry["shift"]] = entry
    means = []
    for key, by_shift in sorted(groups.items()):
        seeds = {tuple(entry["train_seeds"]) for entry in by_shift.values()}
        if len(by_shift) == len(wanted) and len(seeds) == 1:
            columns = [by_shift[shift] for shift in wanted]
            means.append(
                json.loads(key)
                | {
                    "train_seeds": list(next(iter(seeds))),
                    "top1": rounded(sum(entry["top1"]["mean"] for entry in columns) / len(columns)),
                    "worst_top1": min(entry["top1"]["mean"] for entry in columns),
                    "delta_to_mean": rounded(sum(entry["delta_to_mean"]["mean"] for entry in columns) / len(columns)),
                }
            )
    return means


def _entry_order(entry: Entry) -> str:
    names = [entry["dataset"], entry["method"], entry["recipe"], entry["adapter"], entry["shift"]]
    return json.dumps(names) + json.dumps(entry, sort_keys=True)
