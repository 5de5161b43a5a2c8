"""Aligned text of studies' tables for a terminal."""

from collections.abc import Sequence

from harness.statistics import mean_sd


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
