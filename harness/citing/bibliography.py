"""The papers behind rows as BibTeX: of methods, adapters, data, test sets and published figures.

Papers are named where the parts of a row are: in the first line of a method's file, in the paragraph `Source:` of an
adapter's (also by way of another adapter that is named there), in the licence of a dataset, in the source of a
published figure. `papers.toml` has the facts of each.
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.adapters import ADAPTERS
from methods.core.options import docstring
from methods.papers import METHODS
from shifts.common.files import printable
from shifts.images.entries import ENTRIES
from shifts.labels.shift import published_shifts

ELEVEN = "the eleven published test sets"
_SHIFTS = frozenset(map(str, published_shifts()))
_TEXT = re.MULTILINE | re.DOTALL
_NO_FACTS = ("key", "cited")


@dataclass(frozen=True)
class Bibliography:
    """papers: key -> the parts of rows that it is behind; unknown: parts that name no paper, such as `method mine`."""

    papers: dict[str, list[str]]
    unknown: list[str]

    def text(self) -> str:
        """Return the entries, by key, each under a line that says what it is for; this program is the last one."""
        program = (
            "% the program\n@software{tailshift,\n  author = {{The tailshift authors}},\n"
            "  title = {{tailshift: the reference harness for long-tailed recognition under test-time label shift}},\n"
            f"  version = {{{version('tailshift')}}},\n  year = {{2026}},\n}}\n"
        )
        entries = [_entry(_papers()[key], parts) for key, parts in sorted(self.papers.items())]
        return "\n".join([*entries, program])


def bibliography(rows: Iterable[Any]) -> Bibliography:
    """Return the papers behind rows of either kind."""
    parts = {part for row in rows for part in _parts(row)}
    papers: dict[str, list[str]] = defaultdict(list)
    unknown = []
    for part, text in sorted(parts):
        keys = cited(text)
        for key in keys:
            papers[key].append(part)
        if not keys:
            unknown.append(part)
    return Bibliography(dict(papers), unknown)


def cited(text: str) -> list[str]:
    """Return the keys of the papers that a text names."""
    plain = " ".join(text.split())
    return [key for key, paper in _papers().items() if any(name in plain for name in paper["cited"])]


def source_of_method(name: str) -> str:
    """Return the first line of the file of a method, without options; empty for one that is not this program's."""
    return _docstring(METHODS, name).partition("\n")[0]


def source_of_adapter(name: str) -> str:
    """Return the paragraph `Source:` of the file of an adapter, without options; empty as for a method.

    Those of adapters that it names in backticks follow.
    """
    found = re.search(
        r"^Source: (.*?)(?=^Equation|^Failures|^Access|^Known|^Why|^$|\Z)", _docstring(ADAPTERS, name), _TEXT
    )
    if found is None:
        return ""
    others = [other for other in re.findall(r"`(\w+)`", found[1]) if other in ADAPTERS and other != name]
    return "\n".join([found[1], *map(source_of_adapter, others)])


def _docstring(table: dict[str, str], name: str) -> str:
    name = name.partition(":")[0]
    return docstring(table[name].partition(":")[0]) if name in table else ""


def _parts(row: Any) -> Iterator[tuple[str, str]]:
    """Yield what a row is made of, each part with the text that names its papers."""
    yield f"method {row.method.partition(':')[0]}", source_of_method(row.method)
    yield f"adapter {row.adapter.partition(':')[0]}", source_of_adapter(row.adapter)
    name = row.dataset.removesuffix("-like")
    yield f"data {row.dataset}", next((entry.licence for entry in ENTRIES if entry.name == name), "")
    if row.shift in _SHIFTS:
        yield "test sets of the published kind", ELEVEN
    if row.reported_source is not None:
        yield f"published figures from {row.reported_source}", row.reported_source


def _entry(paper: dict[str, Any], parts: list[str]) -> str:
    kinds = (("journal", "article"), ("booktitle", "inproceedings"), ("institution", "techreport"))
    kind = next((kind for field, kind in kinds if field in paper), "misc")
    facts = {name: value for name, value in paper.items() if name not in _NO_FACTS}
    facts["title"] = f"{{{paper['title']}}}"  # a second pair of braces keeps capitals
    lines = [f"  {name} = {{{value}}}," for name, value in facts.items()]
    return "\n".join([printable(f"% {'; '.join(parts)}"), f"@{kind}{{{paper['key']},", *lines, "}\n"])


@cache
def _papers() -> dict[str, dict[str, Any]]:
    tables = tomllib.loads((Path(__file__).parent / "papers.toml").read_text(encoding="utf-8"))["paper"]
    return {paper["key"]: paper for paper in tables}
