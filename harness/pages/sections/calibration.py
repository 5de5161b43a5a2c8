"""Calibration: how often a prediction of a given confidence is right, from the stored reliability bins."""

import numpy as np

from harness.pages.blocks import Block, Line
from harness.show import ink, plot
from harness.show.access import SITUATIONS
from harness.show.cells import listed
from harness.show.section import Picture, Section, Table
from harness.show.shifts import outermost, short

SMALLEST = 20
"""Bins with fewer images (over the seeds) are not drawn."""


def section(block: Block) -> Section | None:
    """Show the error of every line; of several shifts, the reliability without adaptation on three, a panel each."""
    with_bins = {row.row_id for row in block.rows if sum(row.bins_count) > 0}
    lines = [line for line in block.lines if any(with_bins & set(entry["row_ids"]) for entry in line.entries.values())]
    plain = {line.method: line for line in lines if line.adapter == "mean"}
    if not plain:
        return None
    shifts = outermost(block.shifts)
    pictures = (_picture(block, plain, shifts),) if len(block.shifts) > 1 else ()
    return Section("calibration", "Calibration", _lead(plain, shifts), (_table(block, lines),), pictures)


def _picture(block: Block, plain: dict[str, Line], shifts: tuple[str, ...]) -> Picture:
    """Draw a reliability diagram for each method."""
    by_id = {row.row_id: row for row in block.rows}
    drawn = [method for method in block.methods if method in plain]
    with ink.styled():
        figure, axes = plot.panels(len(drawn), height=1.85)
        for panel, method in zip(axes, drawn, strict=True):
            panel.set_title(plot.heading(method))
            panel.plot([0, 100], [0, 100], color=ink.MUTED, linewidth=0.9, label="perfect calibration")
            for number, shift in enumerate(shifts):
                if shift in plain[method].entries:
                    rows = [by_id[row_id] for row_id in plain[method].entries[shift]["row_ids"]]
                    count = np.sum([row.bins_count for row in rows], axis=0)
                    kept = count >= SMALLEST
                    confidence = 100 * np.sum([row.bins_confidence for row in rows], axis=0)[kept] / count[kept]
                    accuracy = 100 * np.sum([row.bins_correct for row in rows], axis=0)[kept] / count[kept]
                    panel.plot(confidence, accuracy, label=shift, **ink.tone(number))
            panel.set(xlim=(0, 100), ylim=(0, 100), xticks=(0, 50, 100), yticks=(0, 50, 100))
        plot.key(figure, axes)
        figure.supxlabel("confidence of the prediction %", fontsize=8)
        figure.supylabel("accuracy %", fontsize=8)
    return Picture(
        f"{block.slug}-calibration",
        figure,
        "Reliability without adaptation, train seeds pooled; below the grey line a method is over-confident. Bins with "
        f"fewer than {SMALLEST} images are left out.",
        f"Reliability diagrams for {listed(drawn, 12)} on {listed(list(shifts))}; errors are in the table below.",
    )


def _lead(plain: dict[str, Line], shifts: tuple[str, ...]) -> str:
    parts = []
    for shift in shifts:
        errors = {method: line.entries[shift]["ece"]["mean"] for method, line in plain.items() if shift in line.entries}
        if errors:
            low, high = (pick(errors, key=lambda method: (errors[method], method)) for pick in (min, max))
            parts.append(f"on {shift} from {100 * errors[low]:.1f} ({low}) to {100 * errors[high]:.1f} ({high})")
    return f"Expected calibration error without adaptation, in percent, runs {'; '.join(parts)}."


def _table(block: Block, lines: list[Line]) -> Table:
    order = list(SITUATIONS)
    rows = [
        (
            line.method,
            line.adapter,
            *(line.entries[shift]["ece"]["mean"] if shift in line.entries else None for shift in block.shifts),
        )
        for line in sorted(
            lines, key=lambda line: (order.index(line.situation), line.adapter, block.methods.index(line.method))
        )
    ]
    columns = ("method", "adapter", *(f"{short(shift)} %" for shift in block.shifts))
    return Table("Expected calibration error (15 bins), mean over train seeds", columns, tuple(rows))
