"""Records as files: flat, typed values, kept as JSON files of one record each or as Parquet files of many.

A file is complete or absent, whatever moment a process is killed at; a file in the writing has a name with a leading
dot. Records of an older schema are brought up to date as they are read, those of a newer one are refused.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field, asdict, dataclass, fields
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, get_args, get_origin, get_type_hints

from harness.records import parquet
from harness.records.withdrawn import standing
from shifts.common.errors import WorkFailed
from shifts.common.files import file_name, sanitised, shortened, write_text

if TYPE_CHECKING:
    import pyarrow as pa

Json = dict[str, Any]

ID_DIGITS = 12
"""Of a row id at the end of a row file's name."""
NAME_LETTERS = 120
"""Letters of adapter and shift in the name of a row's file."""
NAME_BYTES = 255
"""Bytes that file systems take of a name."""


class Record(Protocol):
    """What every record is: a frozen dataclass whose fields are JSON values, `schema_version` among them."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


class FlatRow(Record, Protocol):
    """What every row of a leaderboard has."""

    @property
    def row_id(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def recipe(self) -> str | None: ...
    @property
    def adapter(self) -> str: ...
    @property
    def shift(self) -> str: ...
    @property
    def train_seed(self) -> int | None: ...


R = TypeVar("R", bound=Record)
F = TypeVar("F", bound=FlatRow)


def order(row: FlatRow) -> tuple[Any, ...]:
    """Return the sorting key of a row: data, method, recipe, adapter, shift, seed."""
    return (row.dataset, row.method, row.recipe or "", row.adapter, row.shift, row.train_seed or 0, row.row_id)


@dataclass(frozen=True)
class Kind(Generic[R]):
    """One kind of record.

    record: the dataclass; the order of its fields is the order of columns. noun: what messages call a record. schema:
    `schema_version` that is written. older: brings the values of a record of an older schema up to this one.
    """

    record: type[R]
    noun: str
    schema: int
    older: Callable[[Json], Json] = lambda values: values

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of a record's fields."""
        return tuple(field.name for field in fields(self.record))

    def parse(self, values: Json) -> R:
        """Return the record of a JSON object, which may be of an older schema.

        Raises ValueError for a newer schema, missing or unknown fields, wrong types.
        """
        if not isinstance(values, dict) or "schema_version" not in values:
            raise ValueError("no schema_version")
        if values["schema_version"] > self.schema:
            raise ValueError(f"schema {values['schema_version']} is newer than this program")
        if values["schema_version"] < self.schema:
            values = self.older(values) | {"schema_version": self.schema}
        if values.keys() != self._types.keys():
            raise ValueError(f"fields {sorted(values.keys() ^ self._types.keys())} are missing or unknown")
        for name, (types, parts) in self._types.items():
            value = values[name]
            if type(value) not in types or (parts and value and not parts.issuperset(map(type, value))):
                raise ValueError(f"{name} is {value!r}")
        return self.record(**values)

    def check_column(self, name: str, values: Sequence[Any]) -> None:
        """Check the values that many records have of one field. Raises ValueError for one of another type."""
        types, parts = self._types[name]
        if not types.issuperset(map(type, values)):
            raise ValueError(f"{name} is {next(value for value in values if type(value) not in types)!r}")
        if parts and not parts.issuperset(map(type, chain.from_iterable(filter(None, values)))):
            raise ValueError(f"{name} has entries of another type")

    @contextmanager
    def named(self, where: Path, what: str) -> Iterator[None]:
        """Turn the errors of reading a file into a WorkFailed that names it."""
        try:
            yield
        except (ValueError, TypeError, KeyError) as error:
            said = " ".join(str(error).split())
            raise WorkFailed(
                f"{where}: not {what} of schema {self.schema} ({said}); delete it and run again"
            ) from error

    def arrow_schema(self) -> "pa.Schema":
        """Return the columns of a Parquet file of these records, so that one of nothing but None keeps its type."""
        import pyarrow as pa

        arrow = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}

        def column(name: str, hint: Any) -> pa.Field:
            (kind,) = (part for part in _parts(hint) if part is not type(None))
            made = pa.list_(arrow[get_args(kind)[0]]) if get_origin(kind) is list else arrow[kind]
            return pa.field(name, made, nullable=type(None) in _parts(hint))

        hints = get_type_hints(self.record)
        return pa.schema([column(name, hints[name]) for name in self.fields])

    @cached_property
    def _types(self) -> dict[str, tuple[set[type], set[type]]]:
        """Types of each field's values as JSON has them, and of a list's entries (none: not looked at)."""
        hints = get_type_hints(self.record)
        return {name: (_types_of(hints[name]), _types_of(*_entries(hints[name]))) for name in self.fields}

    @cached_property
    def nested(self) -> list[str]:
        """Fields that hold objects, which a Parquet file keeps as JSON text."""
        return [name for name, hint in get_type_hints(self.record).items() if "dict" in str(hint)]


@dataclass(frozen=True)
class JsonFiles(Generic[F]):
    """Rows under a results folder as one JSON file each; packed, as one Parquet file a dataset.

    folder: of JSON files, which lie in it by checkpoint; packed: first part of the names of Parquet files.
    """

    kind: Kind[F]
    folder: str
    packed: str

    def path(self, results: Path, stem: str, adapter: str, shift: str, row_id: str) -> Path:
        """Return the file of one row: `<folder>/<checkpoint>/<adapter>@<shift>-<row id>.json`."""
        end = f"-{row_id[:ID_DIGITS]}.json"
        name = sanitised(f"{adapter}@{shift}")[:NAME_LETTERS]
        return results / self.folder / stem / (shortened(name, NAME_BYTES - len(end)) + end)

    def store(self, where: Path, row: F) -> None:
        """Write a row, complete or not at all."""
        write_text(where, json.dumps(asdict(row), allow_nan=False, sort_keys=True) + "\n")

    def named(self, results: Path, row_ids: Iterable[str]) -> list[F]:
        """Read the JSON files of these rows, those that there are. Raises WorkFailed as `read`."""
        wanted = {row_id[:ID_DIGITS] for row_id in row_ids}
        files = (results / self.folder).glob("*/[!.]*.json")
        return [self.read(file) for file in sorted(files) if file.stem[-ID_DIGITS:] in wanted]

    def read(self, where: Path) -> F:
        """Read one row file. Raises WorkFailed, naming the file, if it is no row or of a newer schema."""
        with self.kind.named(where, f"a {self.kind.noun}"):
            return self.kind.parse(json.loads(where.read_text(encoding="utf-8")))

    def load_all(self, results: Path) -> list[F]:
        """Read all rows under a results folder, JSON files and packed Parquet files: each row_id once, sorted.

        Those of a withdrawn version are left out. Raises WorkFailed, naming the file, for one that is no row.
        """
        unpacked = chain.from_iterable(map(self.unpack, self.packed_files(results)))
        rows = {row.row_id: row for row in chain(unpacked, self.loose(results))}
        return sorted(standing(rows.values(), results), key=order)

    def loose(self, results: Path) -> Iterator[F]:
        """Yield the rows of the JSON files under a results folder."""
        # A file in the writing has a name with a leading dot, which pathlib's * matches too.
        return map(self.read, sorted((results / self.folder).glob("*/[!.]*.json")))

    def packed_files(self, results: Path) -> list[Path]:
        """List the Parquet files of a results folder."""
        return sorted(results.glob(f"{self.packed}-*.parquet"))

    def unpack(self, file: Path) -> Iterator[F]:
        """Yield the rows of a Parquet file."""
        with self.kind.named(file, f"a file of {self.kind.noun}s"):
            for values in parquet.read(file).to_pylist():
                values.update({name: json.loads(values[name]) for name in self.kind.nested})
                yield self.kind.parse(values)

    def pack(self, rows: Iterable[F], destination: Path) -> list[Path]:
        """Write rows as one Parquet file a dataset, `<packed>-<dataset>.parquet`; returns the files.

        No two datasets share a file (`shifts.common.files.file_name`).
        """
        import pyarrow as pa

        by_dataset: dict[str, list[Json]] = {}
        for row in rows:
            texts = {name: json.dumps(getattr(row, name), sort_keys=True) for name in self.kind.nested}
            by_dataset.setdefault(row.dataset, []).append(asdict(row) | texts)
        written = []
        for dataset, columns in sorted(by_dataset.items()):
            where = destination / f"{self.packed}-{file_name(dataset)}.parquet"
            _write_small(pa.Table.from_pylist(columns), where)
            written.append(where)
        return written


@dataclass(frozen=True)
class ParquetFiles(Generic[R]):
    """Records under a results folder, those of one owner (a checkpoint, or all) as one Parquet file in `folder`."""

    kind: Kind[R]
    folder: str

    def path(self, results: Path, stem: str) -> Path:
        """Return the file of one owner."""
        return results / self.folder / f"{stem}.parquet"

    def store(self, where: Path, records: Sequence[R]) -> None:
        """Write records, complete or not at all."""
        import pyarrow as pa

        values = [asdict(record) for record in records]
        parquet.write(where, pa.Table.from_pylist(values, self.kind.arrow_schema()))

    def read(self, where: Path) -> list[R]:
        """Read the records of one file, none where there is no file. Raises WorkFailed, naming it, for another file."""
        if not where.exists():
            return []
        with self.kind.named(where, f"a file of {self.kind.noun}s"):
            return [self.kind.parse(values) for values in parquet.read(where).to_pylist()]

    def load_all(self, results: Path) -> list[R]:
        """Read all records under a results folder, file by file. Raises WorkFailed as `read`."""
        # A file in the writing has a name with a leading dot, which pathlib's * matches too.
        files = sorted((results / self.folder).glob("[!.]*.parquet"))
        return [record for file in files for record in self.read(file)]


def _parts(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union; of any other hint the hint itself."""
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)


def _entries(hint: Any) -> list[Any]:
    """Return what the lists among a hint's members are lists of."""
    return [get_args(part)[0] for part in _parts(hint) if get_origin(part) is list]


def _types_of(*hints: Any) -> set[type]:
    """Return the Python types of values as JSON has them; a whole number may stand for a float."""
    types = {get_origin(part) or part for hint in hints for part in _parts(hint)}
    return types | {int} if float in types else types


def _write_small(table: Any, path: Path) -> None:
    """Write a table as Parquet with floating-point columns split by byte, which makes them compress."""
    import pyarrow as pa

    float64 = pa.float64()
    single = [column.name for column in table.schema if column.type == float64]
    lists = [column.name for column in table.schema if column.type == pa.list_(float64)]
    parquet.write(
        path,
        table,
        compression_level=19,
        use_dictionary=[name for name in table.schema.names if name not in (*single, *lists)],
        column_encoding=dict.fromkeys([*single, *(f"{name}.list.element" for name in lists)], "BYTE_STREAM_SPLIT"),
    )
