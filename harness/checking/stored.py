"""The rows of a results folder, file by file: each with its place, what cannot be read told as a fault."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.board.merge import in_words
from harness.checking.findings import Fault, Outcome
from harness.records import label_rows, rows
from harness.records.record import JsonFiles
from shifts.common.errors import WorkFailed

Add = Callable[[str, str, Outcome], None]
STUDIES = ("estimates", "routes", "sweeps", "why")


def single(results: Path, add: Add) -> list[tuple[str, Any]]:
    """Return the single-label rows of a folder, each with its place; a row that lies in two files comes twice."""
    return list(_rows(rows.FILES, results, add))


def multi(results: Path, add: Add) -> list[tuple[str, Any]]:
    """Return the multi-label rows of a folder, each with its place."""
    return list(_rows(label_rows.FILES, results, add))


def files(results: Path) -> list[Path]:
    """List the files of a folder that hold rows, single ones by their folder."""
    packed = [file for kind in (rows.FILES, label_rows.FILES) for file in kind.packed_files(results)]
    loose = [results / kind.folder for kind in (rows.FILES, label_rows.FILES)]
    return [*packed, *(folder for folder in loose if any(folder.glob("*/[!.]*.json")))]


def study_files(results: Path) -> list[Path]:
    """List the files of studies, whose rows no check computes again."""
    return [file for name in STUDIES for file in sorted((results / name).rglob("[!.]*.parquet"))]


def _rows(kind: JsonFiles[Any], results: Path, add: Add) -> Iterator[tuple[str, Any]]:
    for file in kind.packed_files(results):
        yield from _of_file(kind.unpack, file, results, add)
    for file in sorted((results / kind.folder).glob("*/[!.]*.json")):
        yield from _of_file(lambda where: iter([kind.read(where)]), file, results, add)


def _of_file(read: Callable[[Path], Iterator[Any]], file: Path, results: Path, add: Add) -> Iterator[tuple[str, Any]]:
    name = str(file.relative_to(results))
    try:
        found = list(read(file))
    except (WorkFailed, OSError) as error:
        said = " ".join(str(error).split()).removeprefix(f"{file}: ").replace("; delete it and run again", "")
        add("files", name, Fault(said))
        return
    add("files", name, None)
    yield from ((f"{name}: {in_words(row)}", row) for row in found)
