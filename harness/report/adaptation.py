"""Where adaptation hurts: what each adapter gains or loses against no adaptation, on the same images."""

from typing import Any

import numpy as np

from harness.report import plot
from harness.report.blocks import SITUATIONS, Block, Entry, Line
from harness.report.cells import listed, points, signed
from harness.report.section import Picture, Section, Table
from harness.table import short

LIMIT = 20
"""Points at which the colour of a gain or loss is full."""
GAIN, LOSS, NEUTRAL = (0x1F, 0x6F, 0xB2), (0xC8, 0x4E, 0x14), (0xF1, 0xF2, 0xF4)
DARK_TEXT, LIGHT_TEXT = "#15181b", "#fbfbfb"


def section(block: Block) -> Section | None:
    """Gains and losses per adapter, method and shift; None where nothing was adapted."""
    lines = [line for key in SITUATIONS for line in block.of(key) if line.adapter != "mean"]
    if not lines:
        return None
    adapters = list(dict.fromkeys(line.adapter for line in lines))
    adapters.sort(key=lambda name: [line.situation for line in lines if line.adapter == name] == ["told"])
    pictures = []
    for told in (False, True):
        chosen = [line for line in lines if (line.situation == "told") == told]
        if chosen:
            pictures.append(_map(block, chosen, told))
    tables = (_by_adapter(block, lines), _losses(lines))
    return Section(
        "adaptation", "Where adaptation hurts", _lead(lines), tuple(t for t in tables if t.rows), tuple(pictures)
    )


def _gain(entry: Entry) -> float:
    return float(entry["delta_to_mean"]["mean"])


def _lead(lines: list[Line]) -> str:
    told = [line for line in lines if line.situation != "told"]
    cells = [entry for line in told for entry in line.entries.values()]
    if not cells:
        return "Only upper references were measured besides no adaptation."
    hurt = sum(entry["adaptation_hurts"] for entry in cells)
    helped = sum(_gain(entry) > 0 for entry in cells)
    worst_line = min(told, key=lambda line: min(map(_gain, line.entries.values())))
    worst = min(worst_line.entries.values(), key=_gain)
    return (
        f"Of {len(cells):,} adapted results (method, adapter, shift; upper references aside) {helped:,} gain accuracy "
        f"over no adaptation and {hurt:,} lose more than the interval. The largest loss is "
        f"{points(_gain(worst))} points: {worst_line.name} on {worst['shift']}."
    )


def _map(block: Block, lines: list[Line], told: bool) -> Picture:
    """Colour and number for each method (rows) and shift (columns), one panel an adapter."""
    from matplotlib.figure import Figure

    adapters: dict[str, list[Line]] = {}
    for line in lines:
        adapters.setdefault(line.adapter, []).append(line)
    groups = sorted(adapters.items(), key=lambda item: (-len(item[1]), item[0]))
    for _, group in groups:
        group.sort(key=lambda line: block.methods.index(line.method))
    wide = len(block.shifts) > 12
    columns = 1 if wide or len(groups) == 1 else 2
    strips = [groups[start : start + columns] for start in range(0, len(groups), columns)]
    heights = [max(len(group) for _, group in strip) + 1.6 for strip in strips]
    with plot.styled():
        figure = Figure(figsize=(plot.WIDTH, 0.195 * sum(heights) + 0.35), layout="constrained")
        grid = figure.subplots(
            len(strips), columns, squeeze=False, gridspec_kw={"height_ratios": [height - 1.6 for height in heights]}
        )
        for strip, line_of_axes in zip(strips, grid, strict=True):
            tallest = max(len(group) for _, group in strip)
            for axes in line_of_axes[len(strip) :]:
                axes.set_visible(False)
            for axes, (adapter, group) in zip(line_of_axes, strip, strict=False):
                _panel(axes, block.shifts, adapter, group, tallest)
    which = "Upper references, told the truth" if told else "Adapters that are told nothing of the test labels"
    return Picture(
        f"{block.slug}-adaptation-{'told' if told else 'honest'}",
        figure,
        f"{which}: top-1 gained (blue) or lost (orange) against the mean of expert logits on the same images, in "
        "points, mean over train seeds. Bold, framed: on every seed no adaptation lies above the adapted interval.",
        f"Heat maps of gain in points by method and shift for {listed([name for name, _ in groups], 12)}; "
        "the largest losses are in the table below.",
    )


def _panel(axes: Any, shifts: tuple[str, ...], adapter: str, group: list[Line], tallest: int) -> None:
    from matplotlib.patches import Rectangle

    colours = np.ones((tallest, len(shifts), 4))
    colours[..., 3] = 0.0
    size = 6.5 if len(shifts) <= 12 else 6
    for row, line in enumerate(group):
        for column, shift in enumerate(shifts):
            entry = line.entries.get(shift)
            if entry is None:
                continue
            gain = 100 * _gain(entry)
            colours[row, column] = (*_colour(gain), 1.0)
            hurts = entry["adaptation_hurts"]
            axes.text(
                column,
                row,
                signed(gain),
                ha="center",
                va="center_baseline",
                fontsize=size,
                fontweight="bold" if hurts else "normal",
                color=LIGHT_TEXT if abs(gain) > 0.75 * LIMIT else DARK_TEXT,
            )
            if hurts:
                corner = (column - 0.46, row - 0.44)
                axes.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, edgecolor=DARK_TEXT, linewidth=0.8))
    axes.imshow(colours, aspect="auto", interpolation="none")
    axes.set_title(adapter)
    axes.set_xticks(range(len(shifts)), [short(shift).replace("_lt", "") for shift in shifts])
    if any(len(short(shift)) > 4 for shift in shifts):
        for text in axes.get_xticklabels():
            text.set(rotation=30, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(group)), [line.method for line in group])
    axes.set_ylim(tallest - 0.5, -0.5)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _colour(gain: float) -> tuple[float, ...]:
    """From orange over light grey to blue; full at LIMIT points."""
    share = min(abs(gain) / LIMIT, 1.0) ** 0.8
    end = GAIN if gain > 0 else LOSS
    return tuple((share * full + (1 - share) * none) / 255 for full, none in zip(end, NEUTRAL, strict=True))


def _by_adapter(block: Block, lines: list[Line]) -> Table:
    """How often an adapter helps and hurts, over its methods and shifts."""
    rows = []
    for adapter in dict.fromkeys(line.adapter for line in lines):
        own = [line for line in lines if line.adapter == adapter]
        cells = [(line, entry) for line in own for entry in line.entries.values()]
        gains = [_gain(entry) for _, entry in cells]
        worst_line, worst = min(cells, key=lambda pair: _gain(pair[1]))
        best_line, best = max(cells, key=lambda pair: _gain(pair[1]))
        rows.append(
            (
                adapter,
                SITUATIONS[own[0].situation],
                len(own),
                sum(gains) / len(gains),
                sum(gain > 0 for gain in gains) / len(gains),
                sum(entry["adaptation_hurts"] for _, entry in cells) / len(cells),
                max(gains),
                f"{best_line.method}, {short(best['shift'])}",
                min(gains),
                f"{worst_line.method}, {short(worst['shift'])}",
            )
        )
    columns = (
        "adapter",
        "what it had",
        "methods",
        "mean gain, points",
        "gains, % of results",
        "loses more than the interval, % of results",
        "largest gain, points",
        "where",
        "largest loss, points",
        "where ",
    )
    return Table("Gains and losses against no adaptation, over methods and shifts", columns, tuple(rows))


def _losses(lines: list[Line]) -> Table:
    """Every marked result, the largest loss first."""
    marked = [
        (line.method, line.adapter, entry["shift"], _gain(entry), entry["top1"]["mean"])
        for line in lines
        if line.situation != "told"
        for entry in line.entries.values()
        if entry["adaptation_hurts"]
    ]
    columns = ("method", "adapter", "shift", "against no adaptation, points", "top-1 %")
    marked.sort(key=lambda row: (row[3], row[:3]))
    return Table("Where adaptation loses more than the interval, on every seed", columns, tuple(marked))
