"""Plain text: numbers, lists, aligned tables."""

from collections.abc import Mapping, Sequence
from itertools import chain, count
from textwrap import wrap
from typing import Any

from harness.measures.statistics import mean_sd
from harness.show.section import Cell, Table


def aligned(
    headings: Sequence[str], lines: Sequence[Sequence[str] | str], left: int | Sequence[bool] = 1, gap: int = 2
) -> list[str]:
    """Align cells in columns `gap` blanks apart, and return the lines. A line that is a text stays as it is.

    left: how many of the first columns are flush left, or for each column whether it is. Others are flush right.
    """
    cells = [headings, *(line for line in lines if not isinstance(line, str))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    flush = [place < left for place in range(len(widths))] if isinstance(left, int) else left

    def text(line: Sequence[str] | str) -> str:
        if isinstance(line, str):
            return line
        padded = [
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(line, widths, flush, strict=True)
        ]
        return (" " * gap).join(padded).rstrip()

    return [text(headings), *map(text, lines)]


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with what it counts: `1 shift`, `1,394 images`."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def numbered(names: Sequence[str]) -> list[str]:
    """Make names unique: the second `a` becomes `a-2`."""
    unique: list[str] = []
    for name in names:
        others = (f"{name}-{number}" for number in count(2))
        unique.append(next(other for other in chain([name], others) if other not in unique))
    return unique


def percent(value: float | None) -> str:
    """Return a fraction in percent with one decimal, `-` for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def mean_percent(summary: Mapping[str, Any] | None) -> str:
    """Return the mean over train seeds in percent, `-` for None."""
    return percent(None if summary is None else summary["mean"])


def interval(entry: Mapping[str, Any], name: str) -> str:
    """Return a value's interval for one train seed, its standard deviation over several; or an empty text."""
    if entry[f"{name}_interval"] is not None:
        return "-".join(map(percent, entry[f"{name}_interval"]))
    summary = entry[name]
    return "" if summary is None or summary["sd"] is None else f"± {percent(summary['sd'])}"


def spread(values: Sequence[float | None], scale: float = 1.0, digits: int = 1) -> str:
    """Return mean and standard deviation (ddof = 1) over train seeds, or the mean of one; `-` if a value is missing."""
    known = [value for value in values if value is not None]
    return mean_sd(known).text(scale, digits) if known and len(known) == len(values) else "-"


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean, or None if there is no value or one of them is None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


WIDTH = 100


def as_text(table: Table) -> str:
    """Return a table as aligned text under its caption. Floats have three decimals, None is a dash.

    A table wider than WIDTH gets narrower gaps, then fewer decimals, then shorter texts.
    """
    tries = [(3, 2, WIDTH), (3, 1, WIDTH), (2, 2, WIDTH), *((2, 1, most) for most in (WIDTH, 24, 20, 16, 12))]
    left = [all(isinstance(cell, str) for cell in column) for column in zip(*table.rows, strict=True)]
    for digits, gap, most in tries:
        cells = [[cut(_text(cell, digits), most) for cell in row] for row in table.rows]
        lines = aligned(table.columns, cells, left, gap)
        if max(map(len, lines)) <= WIDTH:
            break
    return "\n".join([*wrap(table.caption, WIDTH), *lines])


def cut(text: str, most: int) -> str:
    """Return a text of at most `most` letters; a longer one loses its middle, so that both ends tell it from others."""
    if len(text) <= most:
        return text
    end = (most - 3) // 3
    return f"{text[: most - 3 - end]}...{text[len(text) - end :]}"


def _text(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    return f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)
