"""Shifts by their text in rows, tables and figures: short name, order, family."""

from collections.abc import Sequence
from functools import lru_cache

from shifts.common.errors import BadInput
from shifts.labels.shift import Shift


@lru_cache
def read(text: str) -> Shift:
    """The shift of a text. What follows a blank may tell two draws of one shift apart (file names have blanks too)."""
    try:
        return Shift.parse(text)
    except BadInput:
        return Shift.parse(text.partition(" ")[0])


def shift_order(text: str) -> tuple[object, ...]:
    """Sorting key of shifts: from forward over uniform to backward, then others by kind, number and seed."""
    return *read(text).order, text


def short(text: str) -> str:
    """A column's heading: F50, U, B50 for the published kinds, the canonical text for others."""
    return text.replace(str(read(text)), read(text).short, 1)


def narrow(text: str) -> str:
    """Return the heading for where room is scarce: `short` without `_lt`."""
    return short(text).replace("_lt", "")


def outermost(shifts: Sequence[str]) -> tuple[str, ...]:
    """Return the first and the last shift of those with an order, and uniform or the middle one between them."""
    ordered = [shift for shift in shifts if is_ordered(shift)] or list(shifts)
    middle = "uniform" if "uniform" in ordered else ordered[len(ordered) // 2]
    return tuple(dict.fromkeys((ordered[0], middle, ordered[-1])))


def is_ordered(text: str) -> bool:
    """Whether a shift lies on the line from forward to backward."""
    return read(text).traits.side is not None
