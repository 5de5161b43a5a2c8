"""The figure of the README: what one method gains from unlabelled test images, on every shift, in one look."""

from collections.abc import Sequence
from pathlib import Path

from harness.pages.blocks import Block
from harness.show import ink
from harness.show.drawing import drawn
from harness.show.plot import AXIS_TEXT, ShiftAxis, key, line, panels
from harness.show.section import Picture
from shifts.common.errors import BadInput
from shifts.common.files import write_text

METHOD = "sade"
SHOWN = {
    "mean": "no adaptation",
    "sade": "expert weights from unlabelled test images (SADE)",
    "eb_em": "estimated prior: unlabelled test images and labelled source images (eb_em)",
    "oracle_prior": "true prior, not calibrated (oracle)",
}
"""Adapter -> what its line is called."""


def values(block: Block) -> dict[str, dict[str, float]]:
    """Return the mean top-1 over train seeds by adapter and shift; empty where an adapter of SHOWN is missing."""
    found = {
        each.adapter: {shift: entry["top1"]["mean"] for shift, entry in each.entries.items()}
        for each in block.lines
        if each.method == METHOD and each.adapter in SHOWN
    }
    return {adapter: found[adapter] for adapter in SHOWN} if found.keys() == SHOWN.keys() else {}


def picture(found: Sequence[Block]) -> Picture:
    """Draw a panel for each block that has METHOD with all of SHOWN. Raises BadInput where none has."""
    chosen = [block for block in found if values(block)]
    if not chosen:
        raise BadInput(f"--picture needs rows of {METHOD} with the adapters {', '.join(SHOWN)}")
    axis = ShiftAxis(tuple(dict.fromkeys(shift for block in chosen for shift in block.shifts)))
    with ink.styled():
        figure, every = panels(len(chosen), height=2.1, below=axis.below)
        for axes, block in zip(every, chosen, strict=True):
            for number, (adapter, accuracies) in enumerate(values(block).items()):
                style = ink.tone(number) | ({"color": ink.FAINT} if adapter == "mean" else {})
                line(axes, axis, accuracies, label=SHOWN[adapter], **style)
            axes.set_title(block.title)
            axis.label(axes)
        every[0].set_ylabel("top-1 %")
        figure.supxlabel(AXIS_TEXT, fontsize=8)
        key(figure, every)
    return Picture("overview", figure, "", "Accuracy on each test set, without and with adaptation.")


def write(found: Sequence[Block], file: Path) -> Path:
    """Write the figure as SVG and return its path. Raises BadInput as `picture` does."""
    write_text(file, drawn(picture(found)).svg)
    return file
