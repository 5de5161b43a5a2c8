"""Some fields of rows, as named tuples: where there are very many rows, far cheaper than whole ones."""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from harness.records import parquet
from harness.records.record import F, JsonFiles
from harness.records.withdrawn import standing

if TYPE_CHECKING:
    import pyarrow as pa


class Part(Generic[F]):
    """Some fields of one kind of row.

    names: the fields, `row_id` among them. members: for fields that are lists of objects, the member (a number) that is
    kept of each object.
    """

    def __init__(self, files: JsonFiles[F], names: Sequence[str], members: Mapping[str, str]) -> None:
        self.files, self.names, self.members = files, tuple(names), members
        make: Callable[..., Any] = namedtuple  # the names are known here only
        self._make = make("Part", self.names)._make
        self._get = attrgetter(*self.names)

    def of(self, row: F) -> Any:
        """Return this part of a row."""
        kept = {name: [one[member] for one in getattr(row, name)] for name, member in self.members.items()}
        return self._make(self._get(row))._replace(**kept)

    def load_all(self, results: Path) -> Iterator[Any]:
        """Yield this part of all rows under a results folder, each row_id once, in no order.

        Those of a withdrawn version are left out. Raises WorkFailed, naming the file, for one that is no row or has
        none; of packed rows it looks at no more.
        """
        return standing(self._once(results), results)

    def _once(self, results: Path) -> Iterator[Any]:
        seen = set()
        for part in self._every(results):
            if part.row_id not in seen:
                seen.add(part.row_id)
                yield part

    def _every(self, results: Path) -> Iterator[Any]:
        """Yield a row that is in several files first from the one that counts: its own, then the last packed one."""
        yield from map(self.of, self.files.loose(results))
        for file in reversed(self.files.packed_files(results)):
            yield from self._unpack(file)

    def _unpack(self, file: Path) -> Iterator[Any]:
        kind = self.files.kind
        with kind.named(file, f"a file of {kind.noun}s"):
            schemas = set(parquet.read(file, ["schema_version"]).column("schema_version").to_pylist())
            if schemas != {kind.schema}:
                yield from map(self.of, self.files.unpack(file))
                return
            words = {*self.names} - {"row_id", *self.members}
            for batch in parquet.batches(file, self.names, words):
                yield from map(self._make, zip(*(self._column(batch, name) for name in self.names), strict=True))

    def _column(self, batch: "pa.RecordBatch", name: str) -> Sequence[Any]:
        """Return the values of a column, which are of the field's types."""
        if name in self.members:
            return _members(batch.column(name), self.members[name])
        values = _values(batch.column(name))
        self.files.kind.check_column(name, values)
        return values


def _values(column: "pa.Array") -> list[Any]:
    """Return the Python values of a column; equal texts of a dictionary are one object."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        return column.to_pylist()
    words = [*column.dictionary.to_pylist(), None]
    return [words[place] for place in column.indices.fill_null(len(words) - 1).to_pylist()]


def _members(texts: "pa.Array", member: str) -> list[list[Any]]:
    """Return one member of each object in lists of objects, given as JSON texts. Raises ValueError for other texts."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.json

    if not pa.types.is_string(texts.type) or texts.null_count:
        raise ValueError(f"not every list of objects with a number {member} is a text")
    # Arrow reads a line for each object, and so many texts at a time far faster than the standard library each of them.
    lines = pc.binary_join_element_wise('{"": ', texts, "}\n", "")
    sizes = pc.binary_length(lines)
    content = lines.buffers()[2].slice(0, pc.sum(sizes).as_py())
    schema = pa.schema([("", pa.list_(pa.struct([(member, pa.float64())])))])
    lists = pyarrow.json.read_json(
        pa.BufferReader(content),
        pyarrow.json.ReadOptions(block_size=max(1 << 20, pc.max(sizes).as_py() + 1)),
        pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    column = lists.column("").combine_chunks()
    found: list[list[Any]] = pa.ListArray.from_arrays(column.offsets, column.values.field(member)).to_pylist()
    if len(found) != len(texts) or column.null_count or None in chain.from_iterable(found):
        raise ValueError(f"not every text is a list of objects with a number {member}")
    return found
