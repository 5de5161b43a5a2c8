"""The style of every figure and the colours of the page, chosen so that most colour-blind readers tell them apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INK, FAINT, MUTED, GRID, PAPER = "#1c2024", "#5f6872", "#bfc6ce", "#e1e4e8", "#fefefe"
SERIES = ("#0067a8", "#c24a00", "#00785c", "#a8468a", "#8a6100", "#4b5563")
"""After Okabe and Ito, darkened for thin lines."""
PAGE = {
    "ink": (INK, "#e8eaed"),
    "faint": (FAINT, "#a4adb8"),
    "muted": (MUTED, "#515b67"),
    "grid": (GRID, "#2d343c"),
    "paper": (PAPER, "#14181d"),
    "accent": (SERIES[0], "#5cb3f0"),
    "loss": (SERIES[1], "#ff9152"),
}
"""Colours of the page by name, light and dark."""
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (6, 1, 1.5, 1)), "-", "-")
WIDTH = 9.0
"""Inches; at 8 points text stays readable when the page scales a figure to its column."""

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.titlecolor": INK,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": "auto",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "lines.markersize": 3,
}


@contextmanager
def styled() -> Iterator[None]:
    """Set the style for figures made inside; matplotlib's own settings come back afterwards."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def tone(number: int) -> dict[str, Any]:
    """Return colour, marker and dash of the series with this number; 36 of them differ."""
    place, turn = number % len(SERIES), number // len(SERIES)
    marker = MARKERS[(place + turn) % len(MARKERS)]
    return {"color": SERIES[place], "marker": marker, "linestyle": DASHES[place]}
