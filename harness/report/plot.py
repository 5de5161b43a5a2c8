"""Figures of the report: one style, small multiples, and their files, the same byte for byte for the same figure.

Colours are told apart by most colour-blind readers (after Okabe and Ito) and by marker and dash as well. Each has a
light and a dark tone; the page swaps them by theme, files keep the light one.
"""

import base64
import html
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report import ink
from harness.report.blocks import family, is_ordered
from harness.report.ink import FAINT, GRID, INK, PAPER, SERIES
from harness.report.section import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MUTED = "#bfc6ce"
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
USUAL = {"#000000": INK, "#ffffff": PAPER, "#b0b0b0": GRID, "#cccccc": GRID, "#dddddd": GRID}
"""Colours that matplotlib takes by itself -> what they are here."""
WIDTH = 9.0
"""Inches; at 8 points text stays readable when the page scales a figure to its column."""
HEAVY = 400_000
"""Characters of SVG above which the page holds the PNG."""
SMALL: dict[Any, Any] = {
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid.axis": "y",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.markersize": 3,
}
"""What small multiples change in the style of `ink`."""


@contextmanager
def styled() -> Iterator[None]:
    """The style of small multiples, for figures made inside."""
    import matplotlib

    with ink.styled(), matplotlib.rc_context(SMALL):
        yield


LEGEND_LINE, LETTER, HANDLE = 0.18, 0.066, 0.55
"""Inches: a line of a legend, a letter at 8 points, and what stands beside a label."""


def panels(count: int, *, height: float = 1.75, below: float = 0.0) -> "tuple[Figure, list[Axes]]":
    """A figure with `count` equal panels of `height` inches each and `below` inches for long labels under them."""
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
        grid.flat[place].tick_params(labelbottom=place + columns >= count)
        if columns > 4:
            grid.flat[place].tick_params(axis="x", labelsize=6.3)
    return figure, list(grid.flat[:count])


def key(figure: "Figure", axes: "Sequence[Axes]") -> None:
    """One legend for all panels, in a strip that is added above them: each label once, as panels name them."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    handles: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if not handles:
        return
    widest = max(map(len, handles)) * LETTER + HANDLE
    columns = max(1, min(len(handles), int(WIDTH / widest)))
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
    """A panel's heading: a long name is broken after its first colon or comma."""
    return re.sub(r"([:,]) ?", r"\1\n", name, count=1) if len(name) > 20 else name


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

    @property
    def below(self) -> float:
        """Inches that the labels need below panels."""
        return 0.0 if all(map(is_ordered, self.shifts)) else 0.5

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


def svg(picture: Picture) -> str:
    """A picture as a standalone SVG document, without clock reading, host or program version."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": picture.name, "svg.fonttype": "none", "text.parse_math": False}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        picture.figure.savefig(file, format="svg", metadata=nothing)
    return re.sub(r"[ \t]+\n", "\n", file.getvalue())


def png(picture: Picture) -> bytes:
    """A picture as PNG, 150 dots an inch, without clock reading or program version."""
    file = io.BytesIO()
    picture.figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return file.getvalue()


@dataclass(frozen=True)
class Drawing:
    """A picture's two files."""

    svg: str
    png: bytes


def inline(drawing: Drawing, picture: Picture) -> str:
    """A picture as an element of the page: `svg` in the colours of the theme, small and without addresses.

    Figures that draw a colour map keep their own colours (on light paper), since texts on them are chosen for it.
    One whose SVG is heavy (a shaded mesh) becomes an `img` with its PNG.
    """
    label = html.escape(picture.alternative, quote=True)
    if len(drawing.svg) > HEAVY:
        data = base64.b64encode(drawing.png).decode("ascii")
        return f'<img class="paper" alt="{label}" src="data:image/png;base64,{data}">'
    document = drawing.svg
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
