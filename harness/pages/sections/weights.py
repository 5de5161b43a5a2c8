"""Learned weights of experts against the shift."""

from harness.pages.blocks import Block, Line
from harness.show import ink, plot
from harness.show.cells import listed
from harness.show.section import Picture, Section, Table
from harness.show.shifts import short


def section(block: Block) -> Section | None:
    """Show learned weights, over several shifts a panel for each method and adapter; None where none were learned."""
    lines = [line for line in block.lines if line.situation != "told" and _weights(line)]
    if not lines:
        return None
    lines.sort(key=lambda line: (line.adapter, block.methods.index(line.method)))
    pictures = (_picture(block, lines),) if len(block.shifts) > 1 else ()
    return Section("weights", "Learned weights against shift", _lead(lines), (_table(block, lines),), pictures)


def _picture(block: Block, lines: list[Line]) -> Picture:
    """Draw a panel for each method and adapter."""
    axis = plot.ShiftAxis(block.shifts)
    several = len({line.adapter for line in lines}) > 1
    spreads = {line: _spread(block, line) for line in lines}
    with ink.styled():
        figure, axes = plot.panels(len(lines), below=axis.below)
        for panel, line in zip(axes, lines, strict=True):
            panel.set_title(plot.heading(f"{line.method}, {line.adapter}" if several else line.method))
            weights = _weights(line)
            experts = len(next(iter(weights.values())))
            panel.axhline(100 / experts, color=ink.MUTED, linewidth=0.9, label="equal weights")
            for expert in range(experts):
                values = {shift: vector[expert] for shift, vector in weights.items()}
                spread = {shift: vector[expert] for shift, vector in spreads[line].items()}
                plot.line(panel, axis, values, spread, label=f"expert {expert + 1}", **ink.tone(expert))
            axis.label(panel)
            panel.set_ylim(0, 100)
        plot.key(figure, axes)
        figure.supxlabel(plot.AXIS_TEXT, fontsize=8)
        figure.supylabel("weight %", fontsize=8)
    band = " Bands: one standard deviation over train seeds." if block.seeds > 1 else ""
    return Picture(
        f"{block.slug}-weights",
        figure,
        f"Weights that {listed(sorted({line.adapter for line in lines}))} learned from the unlabelled test images, "
        f"mean over train seeds; experts in the method's own order (SADE: forward, uniform, backward).{band}",
        f"Line charts of expert weight against shift for {listed([line.name for line in lines], 12)}; "
        "numbers are in the table below.",
    )


def _weights(line: Line) -> dict[str, list[float]]:
    """Return mean weights over train seeds by shift, of adapters with at least two experts to weigh."""
    learned = {shift: entry["weights"] or [] for shift, entry in line.entries.items()}
    return {shift: weights for shift, weights in learned.items() if len(weights) > 1}


def _spread(block: Block, line: Line) -> dict[str, list[float]]:
    """Return the standard deviation over train seeds of each expert's weight by shift, if there are several seeds."""
    from harness.measures.statistics import mean_sd

    by_id = {row.row_id: row for row in block.rows}
    spreads = {}
    for shift, entry in line.entries.items():
        vectors = [weights for row_id in entry["row_ids"] if (weights := by_id[row_id].weights) is not None]
        if len(vectors) > 1:
            spreads[shift] = [mean_sd(column).sd or 0.0 for column in zip(*vectors, strict=True)]
    return spreads


def _lead(lines: list[Line]) -> str:
    """Say how far the weight of an expert moves at most, and at least."""
    moves = []
    for line in lines:
        columns = list(zip(*_weights(line).values(), strict=True))
        moves.append((max(max(column) - min(column) for column in columns), line.name))
    widest, narrowest = max(moves), min(moves)
    if len(moves) == 1:
        return f"Over the shifts an expert's weight moves by up to {100 * widest[0]:.0f} points with {widest[1]}."
    return (
        f"Over the shifts an expert's weight moves by up to {100 * widest[0]:.0f} points with {widest[1]} "
        f"and by no more than {100 * narrowest[0]:.0f} with {narrowest[1]}."
    )


def _table(block: Block, lines: list[Line]) -> Table:
    rows = []
    for line in lines:
        weights = _weights(line)
        for expert in range(len(next(iter(weights.values())))):
            cells = (weights[shift][expert] if shift in weights else None for shift in block.shifts)
            rows.append((line.method, line.adapter, expert + 1, *cells))
    columns = ("method", "adapter", "expert", *(f"{short(shift)} %" for shift in block.shifts))
    return Table("Learned weights, mean over train seeds", columns, tuple(rows))
