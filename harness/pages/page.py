"""The report as one HTML page that needs no other file: style, script, data and figures stand inside."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.pages.explorer import board
from harness.pages.parts import Report
from harness.pages.picks import HAVE, first, packed
from harness.pages.sections.choice import NO_ANSWER
from harness.pages.words import READING
from harness.show import cells, drawing, ink
from harness.show.section import Section
from harness.show.text import counted

FOLDED = 16
"""Tables of more rows than this are folded away behind their caption."""


def render(report: Report, figures: Mapping[str, drawing.Drawing]) -> str:
    """Return the page. figures: each picture's files by its name."""
    environment = Environment(
        loader=PackageLoader("harness.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    environment.filters["anchor"] = anchor
    environment.globals.update(cell=cells.text, numeric=_numeric)
    drawings, styles = _drawings(report.sections, figures)
    picks = [pick for chapter in report.chapters for pick in chapter.picks]
    return environment.get_template("page.html").render(
        report=report,
        drawings=drawings,
        styles=Markup(styles),
        light={name: light for name, (light, _) in ink.PAGE.items()},
        dark={name: dark for name, (_, dark) in ink.PAGE.items()},
        data=board([chapter.block for chapter in report.chapters]),
        picks=packed(picks),
        pick=first(picks),
        have=HAVE,
        folded=FOLDED,
        summary=_summary(report),
        reading=READING,
        no_answer=NO_ANSWER,
    )


def anchor(*parts: str) -> str:
    """Make the id of an element from names."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)


def _drawings(sections: Sequence[Section], figures: Mapping[str, drawing.Drawing]) -> tuple[dict[str, Markup], str]:
    """Return pictures as elements of the page, and a style sheet in which frequent styles are classes."""
    elements = {
        picture.name: drawing.inline(figures[picture.name], picture)
        for section in sections
        for picture in section.pictures
    }
    counts = Counter(style for text in elements.values() for style in re.findall(r' style="([^"]*)"', text))
    names = {style: f"g{place}" for place, style in enumerate(sorted(s for s, n in counts.items() if n > 3))}

    def shorten(match: re.Match[str]) -> str:
        return f' class="{names[match[1]]}"' if match[1] in names else match[0]

    styles = "".join(f".{name}{{{style}}}\n" for style, name in names.items())
    return {name: Markup(re.sub(r' style="([^"]*)"', shorten, text)) for name, text in elements.items()}, styles


def _numeric(rows: Sequence[Sequence[Any]], column: int) -> bool:
    """Return whether a column of a table holds numbers (and absent values) alone."""
    return all(row[column] is None or type(row[column]) in (int, float) for row in rows)


def _summary(report: Report) -> str:
    """Return one line on what was read."""
    blocks = [chapter.block for chapter in report.chapters]
    if not blocks:
        return counted(len(report.further), "analysis", "analyses")
    lines = [line for block in blocks for line in block.lines]
    return ", ".join(
        (
            counted(sum(len(block.rows) for block in blocks), "stored row"),
            counted(len({line.method for line in lines}), "method"),
            counted(len({line.adapter for line in lines}), "adapter"),
            counted(len({shift for block in blocks for shift in block.shifts}), "shift"),
            counted(max(block.seeds for block in blocks), "train seed"),
        )
    )
