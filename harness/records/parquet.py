"""Parquet files with a checksum on every page: complete or absent when written, checked as a whole when read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shifts.common.files import atomic

if TYPE_CHECKING:
    import pyarrow as pa


class Damaged(ValueError):  # noqa: N818
    """What lies in a file is no table, or not the one that was written."""


def write(where: Path, table: "pa.Table", **options: Any) -> None:
    """Write a table; `options` are those of `pyarrow.parquet.write_table`."""
    import pyarrow.parquet as pq

    with atomic(where) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True, **options)


def read(where: Path) -> "pa.Table":
    """Read a table.

    Raises Damaged where bytes of it were changed or it is none (of files without checksums: as far as that shows), and
    OSError where it cannot be opened.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with where.open("rb"):
        pass  # what the system has to say against it is not the file's fault
    try:
        table = pq.read_table(where, page_checksum_verification=True)
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        raise Damaged(" ".join(str(error).split())) from error
    return table
