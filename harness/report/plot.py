"""Figures of the report: one style, small multiples, and their files, the same byte for byte for the same figure.

Colours are told apart by most colour-blind readers (after Okabe and Ito) and by marker and dash as well. Each has a
light and a dark tone; the page swaps them by theme, files keep the light one.
"""

import html
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.report.blocks import family, is_ordered
from harness.report.section import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, MUTED, GRID, PAPER = "#1c2024", "#5f6872", "#bfc6ce", "#e1e4e8", "#fefefe"
SERIES = ("#0067a8", "#c24a00", "#00785c", "#a8468a", "#8a6100", "#4b5563")
DARK = {
    INK: "#e8eaed",
    FAINT: "#a4adb8",
    MUTED: "#515b67",
    GRID: "#2d343c",
    PAPER: "#14181d",
    SERIES[0]: "#5cb3f0",
    SERIES[1]: "#ff9152",
    SERIES[2]: "#3fd0a4",
    SERIES[3]: "#e79bcf",
    SERIES[4]: "#e0b44c",
    SERIES[5]: "#b6bfca",
}
"""Light tone -> dark tone of everything that follows the page's theme."""
USUAL = {"#000000": INK, "#ffffff": PAPER, "#b0b0b0": GRID, "#cccccc": GRID}
"""Colours that matplotlib takes by itself -> what they are here."""
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
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
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
    "lines.linewidth": 1.4,
    "lines.markersize": 3,
    "svg.fonttype": "none",
}


@contextmanager
def styled() -> Iterator[None]:
    """The report's style, for figures made inside."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def tone(number: int) -> dict[str, Any]:
    """Colour, marker and dash of the series with this number."""
    place = number % len(SERIES)
    return {"color": SERIES[place], "marker": MARKERS[place], "linestyle": DASHES[place]}


def panels(
    count: int, *, columns: int | None = None, height: float = 1.75, margin: float = 0.3, sharey: bool = True
) -> "tuple[Figure, list[Axes]]":
    """A figure with `count` equal panels of `height` inches each, `margin` inches above them for a legend."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if columns is None:
        columns = 5 if count in (5, 9, 10) or count > 12 else 4
    columns = min(columns, count)
    lines = math.ceil(count / columns)
    share = margin / (lines * height + margin)
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - share), w_pad=0.04, h_pad=0.05)
    figure = Figure(figsize=(WIDTH, lines * height + margin), layout=layout)
    grid = figure.subplots(lines, columns, sharex=True, sharey=sharey, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    # The lowest panel of each column carries the axis, also where the last line of panels is not full.
    for place in range(count):
        grid.flat[place].tick_params(labelbottom=place + columns >= count)
    return figure, list(grid.flat[:count])


def key(figure: "Figure", axes: "Sequence[Axes]", columns: int = 6) -> None:
    """One legend for all panels, above them: each label once, in the order in which panels name them."""
    handles: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
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


@dataclass(frozen=True)
class ShiftAxis:
    """Shifts on a horizontal axis: forward to backward at even steps, then families of order-free shifts apart."""

    shifts: tuple[str, ...]

    @property
    def places(self) -> dict[str, float]:
        """Where each shift stands; sisters of other seeds share a place."""
        places: dict[str, float] = {}
        ordered = [shift for shift in self.shifts if is_ordered(shift)]
        for place, shift in enumerate(ordered):
            places[shift] = float(place)
        families = list(dict.fromkeys(family(shift) for shift in self.shifts if not is_ordered(shift)))
        start = len(ordered) + (0.6 if ordered else 0.0)
        for shift in self.shifts:
            if not is_ordered(shift):
                places[shift] = start + families.index(family(shift))
        return places

    def split(self, values: dict[str, float]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Points (place, value) on the line from forward to backward, and the means of order-free families."""
        places = self.places
        line = [(places[shift], values[shift]) for shift in self.shifts if shift in values and is_ordered(shift)]
        apart: dict[float, list[float]] = {}
        for shift in self.shifts:
            if shift in values and not is_ordered(shift):
                apart.setdefault(places[shift], []).append(values[shift])
        return line, [(place, sum(found) / len(found)) for place, found in apart.items()]

    def label(self, axes: "Axes") -> None:
        """Ticks: the ratio alone, `U` for uniform, the family's name for others."""
        ticks = {place: _tick(shift) for shift, place in self.places.items()}
        axes.set_xticks(list(ticks), list(ticks.values()))
        for text in axes.get_xticklabels():
            if len(text.get_text()) > 3:
                text.set(rotation=40, ha="right", rotation_mode="anchor")
        axes.set_xlim(min(ticks) - 0.5, max(ticks) + 0.5)


AXIS_TEXT = "imbalance of the test set:  ← forward    U = uniform    backward →"


def _tick(shift: str) -> str:
    kind, _, rest = shift.partition("-")
    return {"forward_lt": rest, "backward_lt": rest, "uniform": "U"}.get(kind, family(shift).replace("_lt", ""))


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
    if joined:
        xs, ys = zip(*joined, strict=True)
        axes.plot(xs, [100 * y for y in ys], label=label, **drawn)
        label = None
    if apart:
        xs, ys = zip(*apart, strict=True)
        axes.plot(xs, [100 * y for y in ys], label=label, **{**drawn, "linestyle": "none"})
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


def svg(picture: Picture) -> str:
    """A picture as a standalone SVG document, without clock reading, host or program version."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": picture.name, "svg.fonttype": "none", "text.parse_math": False}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        picture.figure.savefig(file, format="svg", metadata=nothing)
    return re.sub(r"[ \t]+\n", "\n", file.getvalue())


def png(picture: Picture, where: Path) -> None:
    """Write a picture as PNG, 150 dots an inch, without clock reading or program version."""
    picture.figure.savefig(where, format="png", dpi=150, metadata={"Software": None})


def inline(document: str, picture: Picture) -> str:
    """The `svg` element of a document for the page: small, without addresses, in the colours of the theme.

    Figures that draw a colour map keep their own colours (on light paper), since texts on them are chosen for it.
    """
    text = document[document.index("<svg") :]
    for pattern, new in _SMALLER:
        text = pattern.sub(new, text)
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)[0]
    mapped = has_colour_map(picture.figure)
    if not mapped:
        for light in DARK:
            text = text.replace(light, f"var({variable(light)})")
        for usual, light in USUAL.items():
            text = text.replace(usual, f"var({variable(light)})")
    label = html.escape(picture.alternative, quote=True)
    kind = "paper" if mapped else "themed"
    opening = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}" class="{kind}">'
    return re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1).strip()


_SMALLER = [
    (re.compile(pattern, re.DOTALL), new)
    for pattern, new in (
        (r"<!--.*?-->", ""),
        (r"<metadata>.*?</metadata>", ""),
        (r"<defs>\s*<style.*?</style>\s*</defs>", ""),
        (r"xlink:href", "href"),
        (r'<g id="[^"]*"', "<g"),
        (r"font: (?:bold )(?=[\d.]+px)", "font-weight: 600; font: "),
        (r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px"),
        (r"; font-family: [^;\"]*", ""),
        (r' transform="rotate\(-0 [^"]*\)"', ""),
        (r"(\d\d\.\d)\d+", r"\1"),
        (r"(\d\.\d\d)\d+", r"\1"),
        (r">\s+<", "><"),
        (r"\n(?=[LCQz]| *\")", ""),
        (r"<g\s*/>", ""),
        (r"(?<=[a-z]): (?=[^;\"]*[;\"])", ":"),
        (r"; (?=[a-z-]+:)", ";"),
    )
]


def variable(light: str) -> str:
    """The CSS variable of a colour that follows the theme."""
    return f"--c{list(DARK).index(light)}"


def has_colour_map(figure: "Figure") -> bool:
    """Whether a figure shows values by colour (image, mesh, contours); images of given colours are none."""
    from matplotlib.cm import ScalarMappable

    found = figure.findobj(lambda artist: isinstance(artist, ScalarMappable))
    arrays = [artist.get_array() for artist in found]  # type: ignore[attr-defined]
    return any(array is not None and array.ndim != 3 for array in arrays)
