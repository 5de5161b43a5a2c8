"""Rows of several results folders as one: equal rows once, two contents of one identity refused by name."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from harness.board.build import KEY
from harness.board.entries import VERSIONS
from harness.records import label_rows, rows
from harness.records.label_rows import LabelRow
from harness.records.record import JsonFiles, order
from harness.records.rows import Row
from harness.records.withdrawn import standing
from shifts.common.errors import BadInput

CIRCUMSTANCES = (
    *("schema_version", "train_seconds", "evidence_seconds", "adapt_seconds", "device", "determinism", "versions"),
    *("revision", "reported_value", "reported_source", "reported_primary"),
)
"""Row fields that may differ between two computations of one result."""
LABEL_KEY = (
    *("dataset", "train_fingerprint", "train_counts_sha256", "test_fingerprint", "method", "recipe_sha256"),
    *("initial_weights", "adapter", "evidence_precision", "shift", "indices_sha256"),
)
"""What multi-label rows of one entry share; they differ in their train seed."""


@dataclass
class Merged:
    """Rows of several folders, sorted, and what was taken of each folder: (folder, new rows, rows known already)."""

    single: list[Row] = field(default_factory=list)
    multi: list[LabelRow] = field(default_factory=list)
    taken: list[tuple[Path, int, int]] = field(default_factory=list)


def merged(folders: Iterable[Path]) -> Merged:
    """Join the rows of folders; of rows that are equal but for their circumstances the first folder's stays.

    Of two rows that differ in the number of redraws alone the one with more stays. Raises BadInput for a folder without
    rows, and for two rows of one identity with different contents; WorkFailed for a file that is no row.
    """
    made = Merged()
    single, multi = _Joined(), _Joined()
    for folder in folders:
        before = len(single.rows) + len(multi.rows)
        read = single.take_all(rows.FILES, folder) + multi.take_all(label_rows.FILES, folder)
        if not read:
            raise BadInput(f"{folder} holds no rows (rows/, rows-*.parquet)")
        new = len(single.rows) + len(multi.rows) - before
        made.taken.append((folder, new, read - new))
    conflicts = single.conflicts + multi.conflicts
    if conflicts:
        more = f" and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
        raise BadInput(f"rows of one identity differ: {conflicts[0]}{more}")
    made.single, made.multi = single.sorted(), multi.sorted()
    return made


def difference(row: Any, other: Any) -> str | None:
    """Return the first field in which two rows differ as results, None where they are one; redraws may be more."""
    for name in type(row).__dataclass_fields__:
        mine, theirs = getattr(row, name), getattr(other, name)
        if name == "redraws":
            shared = min(len(mine), len(theirs))
            mine, theirs = mine[:shared], theirs[:shared]
        if mine != theirs and name not in CIRCUMSTANCES:
            return name
    return None


def identity(row: Any) -> tuple[Any, ...]:
    """Return what makes a row the only one of its leaderboard entry with its train seed and versions."""
    key = KEY(row) if isinstance(row, Row) else tuple(getattr(row, name) for name in LABEL_KEY)
    return (*key, row.train_seed, *(getattr(row, name) for name in VERSIONS))


def in_words(row: Any) -> str:
    """Return what tells a row from its neighbours."""
    seed = "" if row.train_seed is None else f", seed {row.train_seed}"
    return f"{row.method} + {row.adapter} on {row.shift}{seed} ({row.row_id[:12]})"


class Contents:
    """Rows by identity, to tell whether one that comes is new, known, or another content of a known one."""

    def __init__(self) -> None:
        self._by_id: dict[str, tuple[str, Any]] = {}
        self._by_identity: dict[tuple[Any, ...], tuple[str, Any]] = {}

    def conflict(self, row: Any, place: str) -> str | None:
        """Return, in words, the row seen before that has another content under one identity with this one, if any."""
        known_place, known = self._by_id.setdefault(row.row_id, (place, row))
        name = difference(known, row)
        if name is not None:
            return f"{name} is another in {known_place}"
        known_place, known = self._by_identity.setdefault(identity(row), (place, row))
        return None if known.row_id == row.row_id else f"setting, draw and train seed are those of {known_place}"


@dataclass
class _Joined:
    rows: dict[str, Any] = field(default_factory=dict)
    contents: Contents = field(default_factory=Contents)
    conflicts: list[str] = field(default_factory=list)

    def take_all(self, files: JsonFiles[Any], folder: Path) -> int:
        """Take the rows of a folder, and return how many it holds, some of them several times perhaps."""
        found = list(standing(_every(files, folder), folder))
        for row in found:
            self._take(row, folder)
        return len(found)

    def _take(self, row: Any, folder: Path) -> None:
        place = f"{folder}: {in_words(row)}"
        conflict = self.contents.conflict(row, place)
        if conflict is not None:
            self.conflicts.append(f"{place}: {conflict}")
            return
        known = self.rows.setdefault(row.row_id, row)
        if len(getattr(row, "redraws", ())) > len(getattr(known, "redraws", ())):
            self.rows[row.row_id] = row

    def sorted(self) -> list[Any]:
        return sorted(self.rows.values(), key=order)


def _every(files: JsonFiles[Any], folder: Path) -> Iterator[Any]:
    """Yield the rows of all files; of a row_id the one that other readers take comes first."""
    unpack: Callable[[Path], Iterator[Any]] = files.unpack
    return chain(files.loose(folder), *map(unpack, reversed(files.packed_files(folder))))
