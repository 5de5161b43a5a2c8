"""Files of flat, typed rows: one JSON file each, complete or absent; packed, one Parquet file a dataset."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args, get_origin, get_type_hints

from harness.records import parquet
from shifts.common.errors import WorkFailed
from shifts.common.files import file_name, sanitised, shortened, write_text

Json = dict[str, Any]

NAME_LETTERS = 120
"""Letters of adapter and shift in the name of a row's file."""
NAME_BYTES = 255
"""Bytes that file systems take of a name."""


class FlatRow(Protocol):
    """What every kind of row has; a frozen dataclass whose fields are JSON values."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

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


R = TypeVar("R", bound=FlatRow)


def order(row: FlatRow) -> tuple[Any, ...]:
    """Sorting key of rows: data, method, recipe, adapter, shift, seed."""
    return (row.dataset, row.method, row.recipe or "", row.adapter, row.shift, row.train_seed or 0, row.row_id)


@dataclass(frozen=True)
class RowFiles(Generic[R]):
    """The files of one kind of row under a results folder.

    noun: what messages call a row; schema: `schema_version` that is written, a newer one is refused; folder: of JSON
    files, which lie in it by checkpoint; packed: first part of the names of Parquet files; older: brings a row's JSON
    object up to `schema`.
    """

    kind: type[R]
    noun: str
    schema: int
    folder: str
    packed: str
    older: Callable[[Json], Json] = lambda values: values

    def path(self, results: Path, stem: str, adapter: str, shift: str, row_id: str) -> Path:
        """The file of one row: `<folder>/<checkpoint>/<adapter>@<shift>-<row id>.json`."""
        end = f"-{row_id[:12]}.json"
        name = sanitised(f"{adapter}@{shift}")[:NAME_LETTERS]
        return results / self.folder / stem / (shortened(name, NAME_BYTES - len(end)) + end)

    def store(self, where: Path, row: R) -> None:
        """Write a row, complete or not at all."""
        write_text(where, json.dumps(asdict(row), allow_nan=False, sort_keys=True) + "\n")

    def read(self, where: Path) -> R:
        """Read one row file. Raises WorkFailed, naming the file, if it is no row or of a newer schema."""
        try:
            return self.from_json(json.loads(where.read_text(encoding="utf-8")))
        except (ValueError, TypeError, KeyError) as error:
            raise WorkFailed(
                f"{where}: not a {self.noun} of schema {self.schema} ({error}); delete it and run again"
            ) from error

    def from_json(self, values: Json) -> R:
        """A row from its JSON object, also of an older schema.

        Raises ValueError for a newer schema, missing or unknown fields, wrong types.
        """
        if not isinstance(values, dict) or "schema_version" not in values:
            raise ValueError("no schema_version")
        if values["schema_version"] > self.schema:
            raise ValueError(f"schema {values['schema_version']} is newer than this program")
        values = self.older(values)
        if set(values) != set(self.fields):
            raise ValueError(f"fields {sorted(set(values) ^ set(self.fields))} are missing or unknown")
        for name, kinds in self._kinds.items():
            if type(values[name]) not in kinds:
                raise ValueError(f"{name} is {values[name]!r}")
        return self.kind(**values)

    def load_all(self, results: Path) -> list[R]:
        """All rows under a results folder, JSON files and packed Parquet files, each row_id once, sorted.

        Raises WorkFailed, naming the file, for one that is no row.
        """
        found = {row.row_id: row for row in self._unpacked(results)}
        # A file in the writing has a name with a leading dot, which pathlib's * matches too.
        for file in sorted((results / self.folder).glob("*/[!.]*.json")):
            row = self.read(file)
            found[row.row_id] = row
        return sorted(found.values(), key=order)

    def pack(self, rows: Iterable[R], destination: Path) -> list[Path]:
        """Write rows as one Parquet file a dataset, `<packed>-<dataset>.parquet`; returns the files.

        No two datasets share a file (`shifts.common.files.file_name`).
        """
        import pyarrow as pa

        by_dataset: dict[str, list[Json]] = {}
        for row in rows:
            texts = {name: json.dumps(getattr(row, name), sort_keys=True) for name in self._nested}
            by_dataset.setdefault(row.dataset, []).append(asdict(row) | texts)
        written = []
        for dataset, columns in sorted(by_dataset.items()):
            where = destination / f"{self.packed}-{file_name(dataset)}.parquet"
            _write_small(pa.Table.from_pylist(columns), where)
            written.append(where)
        return written

    def _unpacked(self, results: Path) -> Iterator[R]:
        """Rows of the folder's Parquet files."""
        for file in sorted(results.glob(f"{self.packed}-*.parquet")):
            try:
                for values in parquet.read(file).to_pylist():
                    values.update({name: json.loads(values[name]) for name in self._nested})
                    yield self.from_json(values)
            except (ValueError, TypeError, KeyError) as error:
                raise WorkFailed(f"{file}: not a file of packed {self.noun}s ({error})") from error

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of a row's fields."""
        return tuple(self.kind.__dataclass_fields__)

    @cached_property
    def _kinds(self) -> dict[str, set[type]]:
        hints = get_type_hints(self.kind)
        return {name: _kinds_of(hints[name]) for name in self.fields}

    @cached_property
    def _nested(self) -> list[str]:
        """Fields that hold objects, which a Parquet file keeps as JSON text."""
        return [name for name, hint in get_type_hints(self.kind).items() if "dict" in str(hint)]


def _kinds_of(hint: Any) -> set[type]:
    """The Python types of a field's values as JSON has them; a whole number may stand for a float."""
    kinds = {get_origin(part) or part for part in (get_args(hint) if isinstance(hint, UnionType) else (hint,))}
    return kinds | {int} if float in kinds else kinds


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
