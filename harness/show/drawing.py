"""Figures as files and as elements of the page, the same byte for byte for the same figure."""

import base64
import html
import io
import re
from dataclasses import dataclass

from harness.show.ink import PAPER
from harness.show.section import Picture

HEAVY = 200_000
"""Characters of SVG above which the page may hold the PNG."""


@dataclass(frozen=True)
class Drawing:
    """A picture's two files."""

    svg: str
    png: bytes


def drawn(picture: Picture) -> Drawing:
    """Draw a picture as SVG and as PNG (150 dots an inch). Neither holds a time, a host or a program version."""
    import matplotlib

    vectors, pixels = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": picture.name, "svg.fonttype": "none", "text.parse_math": False}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        picture.figure.savefig(vectors, format="svg", metadata=nothing)
    picture.figure.savefig(pixels, format="png", dpi=150, metadata={"Software": None})
    return Drawing(re.sub(r"[ \t]+\n", "\n", vectors.getvalue()), pixels.getvalue())


def inline(drawing: Drawing, picture: Picture) -> str:
    """Return a picture as an element of the page: an `svg` without background, which the page inverts in the dark.

    A picture whose SVG is heavier than its PNG, such as a shaded mesh, is an `img` on white.
    """
    label = html.escape(picture.alternative, quote=True)
    pixels = base64.b64encode(drawing.png).decode("ascii")
    if len(drawing.svg) > max(HEAVY, len(pixels)):
        return f'<img class="paper" alt="{label}" src="data:image/png;base64,{pixels}">'
    text = drawing.svg[drawing.svg.index("<svg") :]
    (size,) = re.findall(r'viewBox="([^"]*)"', text)
    opening = f'<svg viewBox="{size}" role="img" aria-label="{label}" class="themed">'
    text = re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1)
    for pattern, new in _SMALLER:
        text = pattern.sub(new, text)
    return text.strip()


_SMALLER = [
    (re.compile(pattern), new)
    for pattern, new in (
        (f"fill: {PAPER}", "fill: none"),
        (r'<g id="[^"]*"', "<g"),
        (r' transform="rotate\(-0 [^"]*\)"', ""),
        (r"(\.\d\d)\d+(?![\d<])", r"\1"),
        (r"\n *(?=<)", ""),
    )
]
"""What an element needs less than a file: background, names of groups, digits, white space."""
