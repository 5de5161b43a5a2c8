"""Parquet files with a checksum on every page: complete or absent when written, checked as a whole when read."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shifts.common.files import atomic

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1 << 14
"""Rows that are held in memory at a time."""


class Damaged(ValueError):  # noqa: N818
    """What lies in a file is no table, or not the one that was written."""


def write(where: Path, table: "pa.Table", **options: Any) -> None:
    """Write a table; `options` are those of `pyarrow.parquet.write_table`."""
    import pyarrow.parquet as pq

    with atomic(where) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True, **options)


def read(where: Path, columns: Sequence[str] | None = None) -> "pa.Table":
    """Read a table, or some columns of it.

    Raises Damaged where bytes of it were changed or it is none (of files without checksums: as far as that shows), and
    OSError where it cannot be opened.
    """
    import pyarrow.parquet as pq

    with _opened(where):
        table = pq.read_table(where, columns=columns, page_checksum_verification=True)
        table.validate(full=True)
        return table


def batches(where: Path, columns: Sequence[str], words: Iterable[str] = ()) -> "Iterator[pa.RecordBatch]":
    """Yield some columns of a table, many rows at a time; texts of `words` as places in a dictionary.

    Raises as `read`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _opened(where):
        texts = {column.name for column in pq.read_schema(where) if column.type == pa.string()}
        file = pq.ParquetFile(where, read_dictionary=texts.intersection(words), page_checksum_verification=True)
        left = file.metadata.num_rows
        for batch in file.iter_batches(BATCH, columns=columns):
            batch.validate(full=True)
            left -= batch.num_rows
            yield batch
        if left:
            raise Damaged(f"{left} rows are missing")


@contextmanager
def _opened(where: Path) -> Iterator[None]:
    """Turn what is wrong with a file's content into Damaged, on one line."""
    import pyarrow as pa

    with where.open("rb"):
        pass  # what the system has to say against it is not the file's fault
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        raise Damaged(" ".join(str(error).split())) from error
