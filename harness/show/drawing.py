"""Figures as files and as elements of the page, the same byte for byte for the same figure.

Each colour of `ink` has a light and a dark tone; the page swaps them by theme, files keep the light one.
"""

import base64
import html
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.show.ink import FAINT, GRID, INK, PAPER, SERIES
from harness.show.section import Picture

if TYPE_CHECKING:
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
HEAVY = 200_000
"""Characters of SVG above which the page may hold the PNG."""


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
    One whose SVG is heavier than its PNG (a shaded mesh) becomes an `img`.
    """
    label = html.escape(picture.alternative, quote=True)
    text = drawing.svg[drawing.svg.index("<svg") :]
    for pattern, new in _SMALLER:
        text = pattern.sub(new, text)
    pixels = base64.b64encode(drawing.png).decode("ascii")
    if len(text) > max(HEAVY, len(pixels)):
        return f'<img class="paper" alt="{label}" src="data:image/png;base64,{pixels}">'
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
