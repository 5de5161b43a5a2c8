"""The page at the end of a run: made where rows are newer than it, by one process at a time."""

import os
from collections.abc import Iterator
from pathlib import Path

import harness
from harness.records import label_rows, rows
from shifts.common.errors import WorkFailed
from shifts.common.files import digest, write_text

MOST = 10_000
"""Rows up to which a run makes the page; beyond that it takes minutes, and `python -m harness.report` makes it."""

STUDIES = ("estimates", "routes", "sweeps", "why")
"""Folders of studies' results, which the page shows too."""


def told(results: Path) -> str:
    """Make the page of a results folder where it is not fresh, and say where it is or why it was not made."""
    from filelock import FileLock

    output = results / "report"
    page, stamp = output / "index.html", output / ".made-of"
    many = sum(1 for _ in (results / rows.FILES.folder).rglob("[!.]*.json"))
    if many > MOST:
        return f"page: not made for {many:,} rows; python -m harness.report --results {results} makes it"
    try:
        with FileLock(results / ".report.lock"):
            # Taken before rows are read: what is stored meanwhile makes the page stale.
            sources = digest(sorted(_sources(results)))
            if not (page.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == sources):
                _make(results, output)
                write_text(stamp, sources)
    except (OSError, WorkFailed) as error:
        return f"page: not made: {error}"
    return f"page: {page}"


def _make(results: Path, output: Path) -> None:
    from harness.pages import writing
    from harness.pages.parts import gather

    writing.write(gather(results, rows.load_all(results)), output)


def _sources(results: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of every file that a page may be made of: rows, studies, this program."""
    program = Path(harness.__file__).parent
    files = [file for file in program.rglob("*.*") if file.suffix in (".py", ".html", ".js", ".css")]
    files += results.glob("*.parquet")
    for folder in (rows.FILES.folder, label_rows.FILES.folder, *STUDIES):
        files += (results / folder).rglob("[!.]*.*")
    for file in files:
        try:
            found = os.stat(file)
        except FileNotFoundError:  # replaced meanwhile
            continue
        yield str(file), found.st_size, found.st_mtime_ns
