"""Parts of the figures: panels with one legend, an axis of shifts, lines with bands."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.show.ink import INK, SERIES, WIDTH
from harness.show.shifts import is_ordered, read, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND_LINE, LETTER, HANDLE = 0.18, 0.066, 0.55
"""Inches: a line of a legend, a letter at 8 points, and what stands beside a label."""


def panels(count: int, *, height: float = 1.75, below: float = 0.0) -> "tuple[Figure, list[Axes]]":
    """Make a figure of `count` equal panels, each `height` inches high, with `below` inches for long labels."""
    from matplotlib.figure import Figure

    # Long labels mean more places on the axis, which need wider panels.
    columns = min(count, 3 if below else 5 if count in (5, 9, 10) or count > 12 else 4)
    lines = math.ceil(count / columns)
    size = (WIDTH, lines * (height if count > 2 else 1.4 * height) + below)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    # The lowest panel of each column carries the axis, also where the last line of panels is not full.
    for place in range(count):
        grid.flat[place].grid(axis="x", visible=False)
        grid.flat[place].tick_params(labelbottom=place + columns >= count)
        if columns > 4:
            grid.flat[place].tick_params(axis="x", labelsize=6.3)
    return figure, list(grid.flat[:count])


def key(figure: "Figure", axes: "Iterable[Axes]") -> None:
    """Add one legend for all panels in a strip above them. Each label stands in it once."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    handles: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if not handles:
        return
    widest = max(map(len, handles)) * LETTER + HANDLE
    columns = max(1, min(len(handles), int(figure.get_figwidth() / widest)))
    strip = 0.12 + LEGEND_LINE * math.ceil(len(handles) / columns)
    height = figure.get_figheight() + strip
    figure.set_figheight(height)
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - strip / height), w_pad=0.04, h_pad=0.05))
    figure.legend(
        handles=list(handles.values()),
        labels=list(handles),
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        fontsize=8,
        columnspacing=1.4,
        handlelength=2.4,
    )


def heading(name: str) -> str:
    """Break a long name for the heading of a panel, after its first colon or comma."""
    return re.sub(r"([:,]) ?", r"\1\n", name, count=1) if len(name) > 20 else name


@dataclass(frozen=True)
class ShiftAxis:
    """Shifts on a horizontal axis: from forward to backward at even steps, then each family of the other shifts."""

    shifts: tuple[str, ...]

    @property
    def places(self) -> dict[str, float]:
        """The place of each shift. Shifts that differ in the seed alone share one."""
        places: dict[str, float] = {}
        ordered = [shift for shift in self.shifts if is_ordered(shift)]
        for place, shift in enumerate(ordered):
            places[shift] = float(place)
        families = list(dict.fromkeys(read(shift).family for shift in self.shifts if not is_ordered(shift)))
        start = len(ordered) + (0.6 if ordered else 0.0)
        for shift in self.shifts:
            if not is_ordered(shift):
                places[shift] = start + families.index(read(shift).family)
        return places

    def split(self, values: dict[str, float]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Return points (place, value) of ordered shifts, and of the means of the other families."""
        places = self.places
        line = [(places[shift], values[shift]) for shift in self.shifts if shift in values and is_ordered(shift)]
        apart: dict[float, list[float]] = {}
        for shift in self.shifts:
            if shift in values and not is_ordered(shift):
                apart.setdefault(places[shift], []).append(values[shift])
        return line, [(place, sum(members) / len(members)) for place, members in apart.items()]

    @property
    def below(self) -> float:
        """Inches that labels need below the panels."""
        return 0.0 if all(map(is_ordered, self.shifts)) else 0.5

    def label(self, axes: "Axes") -> None:
        """Set ticks: the ratio alone for ordered shifts, `U` for uniform, the name of the family for others."""
        ticks = {place: _tick(shift) for shift, place in self.places.items()}
        axes.set_xticks(list(ticks), list(ticks.values()))
        for text in axes.get_xticklabels():
            if len(text.get_text()) > 3:
                text.set(rotation=40, ha="right", rotation_mode="anchor")
        axes.set_xlim(min(ticks) - 0.5, max(ticks) + 0.5)


AXIS_TEXT = "imbalance of the test set:  ← forward    U = uniform    backward →"


def _tick(shift: str) -> str:
    side = read(shift).traits.side
    if side is None:
        return read(shift).family.replace("_lt", "")
    return short(shift)[1:] if side else short(shift)


def line(
    axes: "Axes",
    axis: ShiftAxis,
    values: dict[str, float],
    spread: Mapping[str, float | None] | None = None,
    **style: Any,
) -> None:
    """Draw values over shifts, in percent, with a band of one standard deviation where there is one."""
    joined, apart = axis.split(values)
    drawn: dict[str, Any] = {"color": SERIES[0], "marker": "o", "linestyle": "-", "clip_on": False, **style}
    label = drawn.pop("label", None)
    # A line without marks would not show where nothing is joined.
    alone = {"linestyle": "none"} | ({"marker": "_", "markersize": 6} if drawn["marker"] == "none" else {})
    if joined:
        xs, ys = zip(*joined, strict=True)
        axes.plot(xs, [100 * y for y in ys], label=label, **drawn)
        label = None
    if apart:
        xs, ys = zip(*apart, strict=True)
        axes.plot(xs, [100 * y for y in ys], label=label, **{**drawn, **alone})
    band = [
        (axis.places[shift], values[shift], sd)
        for shift, sd in (spread or {}).items()
        if sd is not None and shift in values and is_ordered(shift)
    ]
    if len(band) > 1:
        places, middle, half = zip(*sorted(band), strict=True)
        low = [100 * (y - sd) for y, sd in zip(middle, half, strict=True)]
        high = [100 * (y + sd) for y, sd in zip(middle, half, strict=True)]
        axes.fill_between(places, low, high, color=drawn["color"], alpha=0.18, linewidth=0)


def star(axes: "Axes", x: float, y: float, colour: str, label: str | None = None) -> None:
    """Draw a point that stands out from the line of its colour."""
    look: dict[str, Any] = {"s": 120, "marker": "*", "edgecolor": INK, "linewidths": 0.7, "zorder": 5}
    axes.scatter([x], [y], color=colour, label=label, **look)
