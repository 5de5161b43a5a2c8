"""Answers as a file, one line an image, and the shares behind them as JSON; each complete or absent."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.applying.answers import Answers
from shifts.common.errors import BadInput
from shifts.common.files import atomic, write_text

COLUMNS = ("id", "class", "probability", "class_without_adaptation")
LINES_AT_ONCE = 100_000


def write(path: Path, answers: Answers, names: tuple[str, ...], ids: tuple[str, ...] | None) -> None:
    """Write a line for each image: its id (its place, 0, 1, ..., where it has none), class, probability, class before.

    names: of the classes. Raises BadInput for another suffix and OSError.
    """
    check_suffix(path)
    lines = _lines(answers, names, ids)
    with atomic(path) as temporary:
        WRITERS[path.suffix.lower()](temporary, lines)


def write_prior(path: Path, content: dict[str, Any]) -> None:
    """Write shares and verdict as JSON. Raises OSError."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def prior_path(path: Path) -> Path:
    """Return the place of the shares beside answers: `prior.json` for `predictions.csv`, else `NAME.prior.json`."""
    return path.with_name("prior.json" if path.stem == "predictions" else f"{path.stem}.prior.json")


def check(path: Path, read: Sequence[Path]) -> None:
    """Raise BadInput for a place where answers and shares cannot lie: before work starts.

    read: files that they must not replace.
    """
    check_suffix(path)
    for place in (path, prior_path(path)):
        if place.is_dir():
            raise BadInput(f"--output {path}: {place} is a folder")
        if any(place.exists() and other.exists() and place.samefile(other) for other in read):
            raise BadInput(f"--output {path} would replace {place}, which is read")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise BadInput(f"--output {path}: {nearest} is no folder")


def check_suffix(path: Path) -> None:
    """Raise BadInput for a file name whose suffix is none of those that are written."""
    if path.suffix.lower() not in WRITERS:
        raise BadInput(f"--output {path}: answers are written as {', '.join(WRITERS)}, by the suffix of the name")


def _lines(answers: Answers, names: tuple[str, ...], ids: tuple[str, ...] | None) -> Iterator[tuple[Any, ...]]:
    for place, (answer, probability, plain) in enumerate(
        zip(answers.classes, answers.probabilities, answers.plain, strict=True)
    ):
        yield (str(place) if ids is None else ids[place], names[answer], round(float(probability), 6), names[plain])


def _parquet(path: Path, lines: Iterator[tuple[Any, ...]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = (pa.string(), pa.string(), pa.float64(), pa.string())
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for part in _parts(lines):
            writer.write_table(pa.table(dict(zip(COLUMNS, zip(*part, strict=True), strict=True)), schema=schema))


def _csv(path: Path, lines: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(lines)


def _json_lines(path: Path, lines: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(
            json.dumps(dict(zip(COLUMNS, line, strict=True)), ensure_ascii=False) + "\n" for line in lines
        )


WRITERS: dict[str, Callable[[Path, Iterator[tuple[Any, ...]]], None]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _json_lines,
}


def _parts(lines: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    part: list[tuple[Any, ...]] = []
    for line in lines:
        part.append(line)
        if len(part) == LINES_AT_ONCE:
            yield part
            part = []
    if part:
        yield part
