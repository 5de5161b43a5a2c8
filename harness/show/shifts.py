"""Shifts by their text in rows, tables and figures: short name, order, family."""

from collections.abc import Sequence
from functools import lru_cache

from shifts.common.errors import BadInput
from shifts.labels.shift import Shift


@lru_cache
def read(text: str) -> Shift:
    """Return the shift of a text. Digits after a blank, which tell two draws of a shift apart, are passed over."""
    try:
        return Shift.parse(text)
    except BadInput:
        return Shift.parse(text.partition(" ")[0])


def shift_order(text: str) -> tuple[object, ...]:
    """Return the sorting key: from forward over uniform to backward, then other shifts by kind, number and seed."""
    return *read(text).order, text


def short(text: str) -> str:
    """Return the heading of a column: F50, U, B50 for the published kinds, the whole text for others."""
    return text.replace(str(read(text)), read(text).short, 1)


def narrow(text: str) -> str:
    """Return `short` without `_lt`, for places with little room."""
    return short(text).replace("_lt", "")


def outermost(shifts: Sequence[str]) -> tuple[str, ...]:
    """Return three shifts of those with an order: the first, uniform (else the middle one), the last."""
    ordered = [shift for shift in shifts if is_ordered(shift)] or list(shifts)
    middle = "uniform" if "uniform" in ordered else ordered[len(ordered) // 2]
    return tuple(dict.fromkeys((ordered[0], middle, ordered[-1])))


def is_ordered(text: str) -> bool:
    """Return whether a shift lies on the line from forward to backward."""
    return read(text).traits.side is not None
