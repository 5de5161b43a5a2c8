"""Tables of text: CSV, TSV and JSON lines, read as they are written.

A CSV cell is text: `NA`, `true` and `007` are names like others. Only a column whose cells are all plain whole numbers
(`0`, `17`, no leading zero) holds numbers. An empty cell is a missing value.
"""

import csv
import json
import re
from pathlib import Path
from typing import Any

from shifts.common.errors import BadInput

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def read_text_table(path: Path) -> dict[str, list[Any]]:
    """Return a table's columns by name, all of one length. Raises BadInput naming the file and the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text file (UTF-8)") from error
    suffix = path.suffix.lower()
    columns = _separated(path, text, "\t" if suffix == ".tsv" else ",") if suffix in (".csv", ".tsv") else None
    columns = _json(path, text) if columns is None else columns
    if not columns or not next(iter(columns.values())):
        raise BadInput(f"{path} holds no rows")
    return columns


def _separated(path: Path, text: str, separator: str) -> dict[str, list[Any]]:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise BadInput(f"{path}: two columns have one name")
        rows = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise BadInput(f"{path}, line {reader.line_num}: {len(row)} cells instead of {len(header)}")
            rows.append(row)
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num}: {error}") from error
    return {name: _typed([row[place] for row in rows]) for place, name in enumerate(header)}


def _typed(cells: list[str]) -> list[Any]:
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    return [cell or None for cell in cells]


def _json(path: Path, text: str) -> dict[str, list[Any]]:
    """Read columns from JSON objects, one a line, or from a list of objects."""
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"{path} is no table: one JSON object a line, or a list of objects, is")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}
