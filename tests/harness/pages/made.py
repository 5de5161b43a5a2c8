"""Rows, results folders and reports that tests of the report are made of."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from harness.records import rows
from harness.records.rows import Row
from harness.show.section import Table
from shifts.common.files import digest
from tests.harness.choice.test_answer import EM, ORACLE, SADE, setting
from tests.harness.small import Result, call

MODULE = "harness.report"
HOSTILE = "<script>alert(1)</script>|$x$&\"'`_*"
WEIGHTS = [0.5, 0.3, 0.2]


def measured(
    method: str = "sade", seeds: tuple[int | None, ...] = (0, 1), more: float = 0.0, **changes: Any
) -> list[Row]:
    """One method with four adapters on the eleven published shifts; em hurts. more: what the method is better by."""
    found = []
    for skill, access in ((0.6, {}), (0.7, SADE), (0.5, EM), (0.8, ORACLE)):
        found += [gained(row, found) for row in setting(skill + more, method, seeds, **(access | changes))]
    return found


def gained(row: Row, known: list[Row]) -> Row:
    """A row with its difference to no adaptation, learned weights and an identity of its own."""
    plain = [
        one for one in known if one.adapter == "mean" and (one.shift, one.train_seed) == (row.shift, row.train_seed)
    ]
    top1 = plain[0].top1 if plain else row.top1
    weights = WEIGHTS if row.adapter == "sade" else None
    interval = {"top1_low": row.top1 - 0.04, "top1_high": row.top1 + 0.04}
    row = replace(row, delta_to_mean=row.top1 - top1, weights=weights, **interval)
    return replace(row, row_id=digest([row.row_id, row.adapter, row.train_seed, row.shift]))


def stored(results: Path, found: list[Row]) -> Path:
    """A results folder with these rows."""
    for row in found:
        stem = re.sub(r"\W+", "_", f"{row.dataset}-{row.method}-{row.recipe}-s{row.train_seed}")
        rows.store(rows.path(results, stem, row.adapter, row.shift, row.row_id), row)
    results.mkdir(exist_ok=True)
    return results


def reported(results: Path, output: Path) -> Result:
    """The command on a results folder."""
    return call("--results", results, "--output", output, module=MODULE)


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Page(HTMLParser):
    """What a browser would make of a page: tags with attributes, texts, tables by caption, embedded data."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._raw: str | None = None
        self._cell: io.StringIO | None = None
        self._caption = self._in_caption = ""
        self._rows: list[list[str]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else None
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th", "caption"):
            self._cell = io.StringIO()

    def handle_endtag(self, tag: str) -> None:
        self._raw = None
        if tag in ("td", "th") and self._cell:
            self._rows[-1].append(self._cell.getvalue())
        elif tag == "caption" and self._cell:
            self._caption = self._cell.getvalue()
        elif tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            self.scripts.append(data)
        elif self._raw is None:
            self.text += data
            if self._cell:
                self._cell.write(data)

    @property
    def data(self) -> dict[str, Any]:
        """The leaderboard that the page holds."""
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found

    def results(self) -> list[dict[str, Any]]:
        """The leaderboard's rows, by column key, with texts looked up."""
        columns = self.data["columns"]
        return [
            {
                column["key"]: column["values"][value] if column["kind"] == "text" else value
                for column, value in zip(columns, row[:-1], strict=True)
            }
            | {"flags": row[-1]}
            for row in self.data["rows"]
        ]


def column(table: Table, heading: str) -> list[Any]:
    """One column of a table."""
    place = table.columns.index(heading)
    return [row[place] for row in table.rows]
