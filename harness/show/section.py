"""A section of the report as plain values: title, finding in words, tables, pictures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | float | int | bool | None


@dataclass(frozen=True)
class Table:
    """A table. `rows` hold one cell for each column; numbers stay numbers, accuracies are fractions of 1."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A figure with its caption, its text alternative, and a file name without suffix."""

    name: str
    figure: "Figure"
    caption: str
    alternative: str


@dataclass(frozen=True)
class Section:
    """A section of the report. `lead` says in a sentence or two, with numbers, what it shows."""

    key: str
    title: str
    lead: str
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
