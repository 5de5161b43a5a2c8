"""Typed rows of a study: flat dataclass values, one Parquet file for each checkpoint, complete or absent."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Self, cast, get_args, get_origin, get_type_hints

import pyarrow as pa

from harness.records import parquet
from shifts.common.errors import WorkFailed

_TYPES = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}


@dataclass(frozen=True)
class StudyRow:
    """What rows of every study have: which data, which model, which shift. Accuracies are fractions of 1.

    study_id: SHA-256 of everything that determines the figures of one checkpoint on one shift; its rows share it.
    Subclasses add plain fields (int, float, str, bool, lists of them; None where the type allows it).
    """

    folder: ClassVar[str]
    """Name of the folder under a results folder."""
    schema: ClassVar[int]
    """`schema_version` of the rows that this program writes; a newer one is refused."""

    version: ClassVar[int]
    """`study_version` that this program writes, raised whenever the same evidence would give other figures."""

    schema_version: int
    study_id: str
    study_version: int
    # data
    dataset: str
    train_fingerprint: str | None
    test_fingerprint: str
    test_split: str
    train_profile: str | None
    train_imbalance: float | None
    train_rule: str | None
    train_subset_seed: int | None
    train_n: int
    train_counts_sha256: str
    # method
    method: str
    method_version: int
    backbone: str | None
    recipe: str | None
    recipe_sha256: str | None
    epochs: int | None
    train_seed: int | None
    train_version: int | None
    checkpoint_sha256: str
    evidence_version: int
    metrics_version: int
    # shift
    shift: str
    shift_kind: str
    shift_ratio: float | None
    shift_alpha: float | None
    shift_seed: int | None
    shift_rule: str | None
    shift_origin: str
    n: int
    indices_sha256: str
    tv_train_test: float
    revision: str
    """Git revision or version of the program; no part of `study_id`."""

    @classmethod
    def arrow_schema(cls) -> pa.Schema:
        """The columns as Parquet has them."""
        hints = get_type_hints(cls)
        return pa.schema([_column(field.name, hints[field.name]) for field in fields(cls)])

    @classmethod
    def path(cls, results: Path, stem: str) -> Path:
        """The file of one checkpoint."""
        return results / cls.folder / f"{stem}.parquet"

    @classmethod
    def read(cls, where: Path) -> list[Self]:
        """The rows of one file. Raises WorkFailed, naming it, if it is none of this kind or of a newer schema."""
        table = cls._table(where)
        rows = [cls(**values) for values in table.to_pylist()]
        if any(row.schema_version > cls.schema for row in rows):
            raise WorkFailed(f"{where}: written by a newer version of this program")
        return rows

    @classmethod
    def stored(cls, where: Path) -> set[tuple[str, str]]:
        """(study_id, checkpoint_sha256) of what a file holds, none where there is none. Raises WorkFailed as `read`."""
        if not where.exists():
            return set()
        table = cls._table(where)
        return set(zip(*(table.column(name).to_pylist() for name in ("study_id", "checkpoint_sha256")), strict=True))

    @classmethod
    def load_all(cls, results: Path) -> list[Self]:
        """All rows under a results folder, file by file; none where nothing is stored. Raises WorkFailed as `read`."""
        # A file in the writing has a name with a leading dot, which pathlib's * matches too.
        files = sorted((results / cls.folder).glob("[!.]*.parquet"))
        return [row for file in files for row in cls.read(file)]

    @classmethod
    def _table(cls, where: Path) -> pa.Table:
        expected = cls.arrow_schema()
        try:
            table = parquet.read(where)
        except parquet.Damaged as error:
            raise WorkFailed(f"{where}: not a Parquet file ({error}); delete it and run again") from error
        if not table.schema.equals(expected, check_metadata=False):
            odd = sorted(set(table.schema.names) ^ set(expected.names)) or "types of columns"
            raise WorkFailed(
                f"{where}: not rows of {cls.folder} of schema {cls.schema} ({odd}); delete it and run again"
            )
        return table


def store(where: Path, rows: Sequence[StudyRow]) -> None:
    """Write rows of one kind (at least one), complete or not at all."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=type(rows[0]).arrow_schema())
    parquet.write(where, table)


def _column(name: str, hint: Any) -> pa.Field:
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    (kind,) = (part for part in parts if part is not type(None))
    made = pa.list_(_TYPES[get_args(kind)[0]]) if get_origin(kind) is list else _TYPES[cast(type, kind)]
    return pa.field(name, made, nullable=type(None) in parts)
