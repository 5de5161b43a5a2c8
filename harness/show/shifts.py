"""A shift in tables and figures: its short name, its order, its family."""

import re
from typing import Any

ORDER_FREE = ("shuffled_lt", "dirichlet", "custom", "list")
"""Kinds of shift that do not follow the training order of the classes."""


_ORDERED = {"forward_lt": -1, "uniform": 0, "backward_lt": 1}


def shift_order(shift: str) -> tuple[Any, ...]:
    """Sorting key of shifts: from forward over uniform to backward, then others by kind, number and seed."""
    kind = shift.split("-")[0]
    match = re.match(r"[a-z_]+-([0-9.]+(?:e[+-]?[0-9]+)?)(?![\w.])", shift)
    number = float(match[1]) if match else 0.0
    if kind in _ORDERED:
        return (0, _ORDERED[kind] * number, 0, shift)
    return (1 + (ORDER_FREE.index(kind) if kind in ORDER_FREE else len(ORDER_FREE)), number, _seed(shift), shift)


def family(shift: str) -> str:
    """What a shift and its sisters of other seeds share: `dirichlet-0.1` for `dirichlet-0.1-s7`."""
    return re.sub(r"-s\d+(?=$|-first_n$)", "", shift)


def is_ordered(shift: str) -> bool:
    """Whether a shift lies on the line from forward to backward."""
    return shift.split("-")[0] in _ORDERED


def _seed(shift: str) -> int:
    match = re.search(r"-s(\d+)", shift)
    return int(match[1]) if match else 0


def short(shift: str) -> str:
    """A column's heading: F50, U, B50 for the published kinds, the canonical text for others."""
    kind, _, rest = shift.partition("-")
    letter = {"forward_lt": "F", "backward_lt": "B", "uniform": "U"}.get(kind)
    return shift if letter is None else letter + rest
