"""The leaderboard: one summary entry per setting over train seeds and draws, derived from stored rows alone.

It is the same byte for byte for the same rows: sorted, without clock reading or host. Numbers and fingerprints are
shortened (`harness.board.entries`), since the rows have them in full. `python -m harness.leaderboard` rebuilds it;
`--pack DIR` also writes the rows as one Parquet file a dataset, the form of `results/reference/`.
"""

import gc
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import fsum
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast, get_type_hints

import numpy as np
from filelock import FileLock

from harness.board import label_build as label_leaderboard
from harness.board.entries import VERSIONS, average, by_seed, chosen, newest, pick, reported, rounded
from harness.board.schema import AVERAGES, LEADERBOARD_SCHEMA, Board, Entry, SetsMean, Setting, TestSet, validate
from harness.measures.statistics import mean_sd
from harness.records import label_rows, rows
from harness.records.part import Part
from harness.records.rows import Row
from shifts.common.errors import BadInput
from shifts.common.files import atomic
from shifts.labels.shift import published_shifts

SETTING = tuple(Setting.__annotations__)
"""Row fields that make one leaderboard line, whatever the shift."""
TEST_SET = tuple(TestSet.__annotations__)
"""Row fields that tell which test set."""
AVERAGED = tuple(name for name, hint in get_type_hints(Entry).items() if hint in AVERAGES)
"""Row fields of which an entry has the mean over train seeds."""


READ = (
    *(*SETTING, *TEST_SET, *VERSIONS, "train_seed", "row_id", *AVERAGED, "top1_low", "top1_high", "tv_train_test"),
    *("etvd", "weights", "preference", "redraws", "mcnemar_p_to_mean"),
    *("reported_value", "reported_source", "reported_primary"),
)
"""Row fields that an entry is made of."""
PART = Part(rows.FILES, READ, {"redraws": "top1"})
_AVERAGED = attrgetter(*AVERAGED)
KEY = attrgetter(*SETTING, "shift", "indices_sha256")
"""What rows of one entry share; they differ in their train seed."""
PUBLISHED = tuple(str(shift) for shift in published_shifts())
END = 100
"""Bytes at the end of a file that hold its schema."""

R = TypeVar("R")


def build(found: Iterable[Row]) -> Board:
    """Build the leaderboard of rows: `entries` per (setting, shift), `means` per setting over the published sets.

    Of rows of several versions of a program part only the newest count; how many were left out is `superseded`.
    """
    groups = _groups(map(PART.of, found))
    entries = sorted(map(_entry, groups), key=_order)
    left_out = sum(map(len, groups)) - sum(len(entry["row_ids"]) for entry in entries)
    return _board(entries, left_out, map(_point, entries))


def current(found: Iterable[Row]) -> list[list[Row]]:
    """Return rows by (setting, shift, draw), one a train seed; of several versions only those of the newest."""
    return [newest(group) for group in _groups(found)]


def write(results: Path, checked: bool = False) -> Path:
    """Rebuild `leaderboard.json` of a results folder from its rows, under a lock. Returns its path.

    Multi-label rows have a part of their own, `multi_label`, where there are any. checked: against the JSON Schema.
    An entry is made at a time and kept as text: so a million rows take a few GB.

    Raises BadInput if the file there is of a newer schema, WorkFailed for a row that cannot be read and for an entry
    that breaks the schema.
    """
    where = results / "leaderboard.json"
    results.mkdir(parents=True, exist_ok=True)
    with FileLock(results / ".leaderboard.lock"), _uncollected():
        check_schema(where)
        pieces = text(results, checked)
        with atomic(where) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(pieces)
    return where


def text(results: Path, checked: bool = False) -> Iterator[str]:
    """Yield the leaderboard of a results folder's rows as JSON, piece by piece. Raises WorkFailed as `write`."""
    groups = _groups(PART.load_all(results))
    left_out, lines = 0, []
    while groups:
        group = groups.pop()
        entry = _entry(group)
        left_out += len(group) - len(entry["row_ids"])
        if checked:
            validate(entry, "Entry", f"the entry of row {entry['row_ids'][0][:12]}")
        lines.append((*_order(entry), _point(entry)))
    lines.sort(key=itemgetter(0, 1))
    board = _board([], left_out, (point for *_, point in lines))
    found = label_rows.load_all(results)
    if found:
        board["multi_label"] = label_leaderboard.build(found)
    if checked:
        validate(board)
    yield from _pieces(board, (line for _, line, _ in lines))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking through millions of rows, none of them garbage, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _board(entries: list[Entry], left_out: int, points: "Iterable[_Point | None]") -> Board:
    return {
        "schema_version": LEADERBOARD_SCHEMA,
        "superseded": left_out,
        "entries": entries,
        "means": _means(points),
    }


def _pieces(board: Board, entries: Iterable[str]) -> Iterator[str]:
    """Yield a leaderboard as JSON, the texts of its entries given: one line an entry, to read differences by."""
    for number, (name, value) in enumerate(sorted(board.items())):
        yield (",\n" if number else "{") + f'"{name}":'
        if not isinstance(value, list):
            yield compact(value)
            continue
        yield "[\n"
        for place, text in enumerate(entries if name == "entries" else map(compact, value)):
            yield f",\n{text}" if place else text
        yield "\n]"
    yield "}\n"


def compact(value: Any) -> str:
    """Return a part of the leaderboard as JSON on one line."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _order(entry: Entry) -> tuple[str, str]:
    """Return the sorting key of an entry, of which the second part is its text."""
    names = [entry["dataset"], entry["method"], entry["recipe"], entry["adapter"], entry["shift"]]
    return json.dumps(names), compact(entry)


def read(results: Path) -> Board:
    """Return the leaderboard of a results folder."""
    board: Board = json.loads((results / "leaderboard.json").read_text(encoding="utf-8"))
    return board


def check_schema(where: Path) -> None:
    """Raise BadInput if the leaderboard at `where` was written by a newer version or is none."""
    if not where.exists():
        return
    try:
        version = _version(where)
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{where} is no leaderboard; move it away (it is rebuilt from the rows)") from error
    if version > LEADERBOARD_SCHEMA:
        raise BadInput(
            f"{where} has schema {version}, this version writes {LEADERBOARD_SCHEMA}; update, or use another --results"
        )


def _version(where: Path) -> int:
    """Read the schema of a leaderboard, which stands at the end of a file that this program wrote."""
    with where.open("rb") as file:
        file.seek(-min(END, where.stat().st_size), os.SEEK_END)
        found = re.search(rb'\n"schema_version":(\d+),\n"superseded":\d+}\n$', file.read())
    return int(found[1] if found else json.loads(where.read_text(encoding="utf-8"))["schema_version"])


def _groups(found: Iterable[R]) -> list[list[R]]:
    """Put rows together by setting, shift and draw."""
    groups: dict[Any, list[R]] = defaultdict(list)
    for row in found:
        groups[KEY(row)].append(row)
    return list(groups.values())


def _entry(group: Sequence[Any]) -> Entry:
    """Summarise one setting on one shift over train seeds, from `PART` of rows; accuracies are fractions."""
    group = by_seed(newest(group))
    first = group[0]
    redraws = [top1 for row in group for top1 in row.redraws]
    spread = _deviations([row.redraws for row in group if len(row.redraws) > 1])
    summary = {
        "train_seeds": [row.train_seed for row in group],
        "top1_interval": rounded([first.top1_low, first.top1_high]) if len(group) == 1 else None,
        "tv_train_test": rounded(first.tv_train_test),
        "etvd": rounded(first.etvd),
        "weights": _mean_vector([row.weights for row in group]),
        "preference": _mean_vector([row.preference for row in group]),
        "redraws": len(redraws),
        "redraw_top1": _mean(redraws),
        "subset_sd": _mean(spread),
        "mcnemar_p_to_mean": rounded([row.mcnemar_p_to_mean for row in group]),
        "adaptation_hurts": all(_hurts(row) for row in group),
        "reported": reported(first),
        "row_ids": [row.row_id for row in group],
    }
    averages = dict(zip(AVERAGED, map(average, zip(*map(_AVERAGED, group), strict=True)), strict=True))
    return cast(Entry, pick(first, SETTING) | pick(first, TEST_SET) | summary | averages)


def _hurts(row: Any) -> bool:
    """Tell whether adaptation lowers accuracy by so much that no adaptation lies above its interval."""
    return bool(row.top1 - row.delta_to_mean > row.top1_high)


def _deviations(lists: Sequence[Sequence[float]]) -> list[float]:
    """Return the standard deviation of each of several lists, at once where they are equally long."""
    if len({*map(len, lists)}) == 1:
        found: list[float] = np.asarray(lists, dtype=np.float64).std(axis=1, ddof=1).tolist()
        return found
    return [sd for values in lists if (sd := mean_sd(values).sd) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return rounded(fsum(values) / len(values)) if values else None


def _mean_vector(found: Sequence[list[float] | None]) -> list[float] | None:
    """Return the mean, entry by entry, over the seeds that have one."""
    learned = [values for values in found if values is not None]
    return [rounded(fsum(column) / len(learned)) for column in zip(*learned, strict=True)] if learned else None


class _Point(NamedTuple):
    """What a mean over the published sets takes of an entry."""

    setting: tuple[Any, ...]
    shift: str
    seeds: tuple[int | None, ...]
    top1: float
    delta: float


def _point(entry: Entry) -> _Point | None:
    """Return what an entry gives to a mean; None on other shifts."""
    if entry["shift"] not in PUBLISHED:
        return None
    averages = entry["top1"]["mean"], entry["delta_to_mean"]["mean"]
    return _Point(tuple(chosen(entry, SETTING).values()), entry["shift"], tuple(entry["train_seeds"]), *averages)


def _means(points: Iterable[_Point | None]) -> list[SetsMean]:
    """Return the mean top-1 over the eleven published shifts, for settings that have them all with the same seeds."""
    settings: dict[tuple[Any, ...], dict[str, _Point]] = defaultdict(dict)
    for point in filter(None, points):
        settings[point.setting][point.shift] = point
    means = []
    for setting, by_shift in settings.items():
        own = list(by_shift.values())
        if len(own) == len(PUBLISHED) and len({point.seeds for point in own}) == 1:
            summary = {
                "train_seeds": [*own[0].seeds],
                "top1": _mean([point.top1 for point in own]),
                "worst_top1": min(point.top1 for point in own),
                "delta_to_mean": _mean([point.delta for point in own]),
            }
            means.append(cast(SetsMean, dict(zip(SETTING, setting, strict=True)) | summary))
    return sorted(means, key=lambda mean: compact(chosen(mean, SETTING)))
