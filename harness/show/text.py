"""Plain text: numbers, lists, aligned tables."""

from collections.abc import Sequence
from textwrap import wrap

from harness.measures.statistics import mean_sd
from harness.show.section import Cell, Table


def aligned(header: Sequence[str], lines: Sequence[Sequence[str] | str], left: int = 1) -> list[str]:
    """Columns two blanks apart, the first `left` of them flush left; a line that is a text stays as it is."""
    cells = [header, *(line for line in lines if not isinstance(line, str))]
    widths = [max(len(line[number]) for line in cells) for number in range(len(header))]

    def text(line: Sequence[str] | str) -> str:
        if isinstance(line, str):
            return line
        padded = [
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return [text(header), *map(text, lines)]


def percent(value: float | None) -> str:
    """A fraction as percent with one digit, `-` for none."""
    return "-" if value is None else f"{100 * value:.1f}"


def spread(values: Sequence[float | None], scale: float = 1.0, digits: int = 1) -> str:
    """Mean and standard deviation (ddof = 1) over train seeds, the mean alone for one, `-` where a value is missing."""
    known = [value for value in values if value is not None]
    return mean_sd(known).text(scale, digits) if known and len(known) == len(values) else "-"


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean, or None where there is no value or one is None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


WIDTH = 100


def as_text(table: Table) -> str:
    """A table as aligned text under its caption, floats with three decimals, `-` for what there is none of.

    A table wider than WIDTH gets narrower gaps, then fewer decimals.
    """
    for digits, gap in ((3, 2), (3, 1), (2, 2), (2, 1)):
        lines = _aligned(table, digits, " " * gap)
        if max(map(len, lines)) <= WIDTH:
            break
    return "\n".join([*wrap(table.caption, WIDTH), *lines])


def _aligned(table: Table, digits: int, gap: str) -> list[str]:
    body = [[_text(cell, digits) for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(table.columns, *body, strict=True)]
    left = [all(isinstance(row[place], str) for row in table.rows) for place in range(len(widths))]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, left, strict=True)
        return gap.join(cell.ljust(width) if flush else cell.rjust(width) for cell, width, flush in cells).rstrip()

    return [line(table.columns), *map(line, body)]


def _text(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    return f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)
