"""Where adaptation hurts: what each adapter gains or loses against no adaptation, on the same images."""

from typing import TYPE_CHECKING

import numpy as np

from harness.board.schema import Entry
from harness.pages.blocks import Block, Line
from harness.show import ink
from harness.show.access import SITUATIONS
from harness.show.cells import listed, points, signed
from harness.show.section import Picture, Section, Table
from harness.show.shifts import narrow, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIMIT = 20
"""Points at which the colour of a gain or loss is full."""
GAIN, LOSS, NEUTRAL = (0x1F, 0x6F, 0xB2), (0xC8, 0x4E, 0x14), (0xF1, 0xF2, 0xF4)
DARK_TEXT, LIGHT_TEXT = "#15181b", "#fbfbfb"


def section(block: Block) -> Section | None:
    """Show gains and losses for each adapter, method and shift, drawn over several; None if nothing was adapted."""
    lines = [line for key in SITUATIONS for line in block.of(key) if line.adapter != "mean"]
    if not lines:
        return None
    adapters = list(dict.fromkeys(line.adapter for line in lines))
    adapters.sort(key=lambda name: [line.situation for line in lines if line.adapter == name] == ["told"])
    pictures = []
    for told in (False, True) if len(block.shifts) > 1 else ():
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
    honest = [line for line in lines if line.situation != "told"]
    cells = [entry for line in honest for entry in line.entries.values()]
    if not cells:
        return "Only upper references were measured besides no adaptation."
    hurt = sum(entry["adaptation_hurts"] for entry in cells)
    helped = sum(_gain(entry) > 0 for entry in cells)
    worst_line = min(honest, key=lambda line: min(map(_gain, line.entries.values())))
    worst = min(worst_line.entries.values(), key=_gain)
    return (
        f"Of {len(cells):,} adapted results (method, adapter, shift; upper references aside) {helped:,} gain accuracy "
        f"over no adaptation and {hurt:,} lose more than the interval. The largest loss is "
        f"{points(_gain(worst))} points: {worst_line.name} on {worst['shift']}."
    )


def _map(block: Block, lines: list[Line], told: bool) -> Picture:
    """Draw colour and number for each method and shift: a panel for each adapter, or one for a single method."""
    from matplotlib.figure import Figure

    if len({line.method for line in lines}) == 1:
        groups = [(lines[0].method, [(line.adapter, line) for line in lines])]
    else:
        adapters: dict[str, list[Line]] = {}
        for line in sorted(lines, key=lambda line: block.methods.index(line.method)):
            adapters.setdefault(line.adapter, []).append(line)
        ranked = sorted(adapters.items(), key=lambda item: (-len(item[1]), item[0]))
        groups = [(adapter, [(line.method, line) for line in group]) for adapter, group in ranked]
    shifts = tuple(shift for shift in block.shifts if any(shift in line.entries for line in lines))
    slanted = any(len(short(shift)) > 4 for shift in shifts)
    columns = 1 if slanted or len(shifts) > 12 or len(groups) == 1 else 2
    strips = [groups[start : start + columns] for start in range(0, len(groups), columns)]
    tallest = [max(len(group) for _, group in strip) for strip in strips]
    height = 0.195 * sum(rows + HEADING for rows in tallest) + (0.8 if slanted else 0.2)
    with ink.styled():
        figure = Figure(figsize=(ink.WIDTH, height), layout="constrained")
        grid = figure.subplots(len(strips), columns, squeeze=False, gridspec_kw={"height_ratios": tallest})
        for place, (strip, rows) in enumerate(zip(strips, tallest, strict=True)):
            for axes, (title, group) in zip(grid[place], strip, strict=False):
                _panel(axes, shifts, title, group, rows)
                # Slanted labels are long: the panels stand one below the other, and the first has them for all.
                _label(axes, shifts, slanted, bare=slanted and place > 0)
            for axes in grid[place][len(strip) :]:
                axes.set_visible(False)
    which = "Upper references, told the truth" if told else "Adapters that are told nothing of the test labels"
    return Picture(
        f"{block.slug}-adaptation-{'told' if told else 'honest'}",
        figure,
        f"{which}: top-1 gained (blue) or lost (orange) against the mean of expert logits on the same images, in "
        "points, mean over train seeds. Bold, framed: on every seed no adaptation lies above the adapted interval.",
        f"Heat maps of gain in points by method, adapter and shift for {listed([name for name, _ in groups], 12)}; "
        "the largest losses are in the table below.",
    )


HEADING = 1.6
"""What a panel's title and labels take, in rows."""


def _panel(axes: "Axes", shifts: tuple[str, ...], title: str, group: list[tuple[str, Line]], rows: int) -> None:
    """Draw one heat map in a panel of this many rows."""
    from matplotlib.patches import Rectangle

    colours = np.zeros((rows, len(shifts), 4))
    for row, (_, line) in enumerate(group):
        for column, shift in enumerate(shifts):
            entry = line.entries.get(shift)
            if entry is None:
                continue
            gain, hurts = 100 * _gain(entry), entry["adaptation_hurts"]
            colours[row, column] = (*_colour(gain), 1.0)
            axes.text(
                column,
                row,
                signed(gain),
                ha="center",
                va="center_baseline",
                fontsize=6.5 if len(shifts) <= 12 else 6,
                fontweight="bold" if hurts else "normal",
                color=LIGHT_TEXT if abs(gain) > 0.75 * LIMIT else DARK_TEXT,
            )
            if hurts:
                corner = (column - 0.46, row - 0.44)
                axes.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, edgecolor=DARK_TEXT, linewidth=0.8))
    axes.imshow(colours, aspect="auto", interpolation="none")
    axes.set_title(title)
    axes.set_yticks(range(len(group)), [label for label, _ in group])
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _label(axes: "Axes", shifts: tuple[str, ...], slanted: bool, bare: bool) -> None:
    """Name the shifts above a panel; not above a `bare` one."""
    axes.tick_params(length=0, top=True, labeltop=not bare, bottom=False, labelbottom=False)
    axes.set_xticks(range(len(shifts)), [narrow(shift) for shift in shifts])
    if slanted and not bare:
        for text in axes.get_xticklabels():
            text.set(rotation=35, ha="left", rotation_mode="anchor")


def _colour(gain: float) -> tuple[float, ...]:
    """Return the colour of a gain, from orange over light grey to blue; it is full at LIMIT points."""
    share = min(abs(gain) / LIMIT, 1.0) ** 0.8
    end = GAIN if gain > 0 else LOSS
    return tuple((share * full + (1 - share) * none) / 255 for full, none in zip(end, NEUTRAL, strict=True))


def _by_adapter(block: Block, lines: list[Line]) -> Table:
    """Return how often each adapter helps and hurts, over its methods and shifts."""
    rows = []
    for adapter in dict.fromkeys(line.adapter for line in lines):
        own_lines = [line for line in lines if line.adapter == adapter]
        cells = [(line, entry) for line in own_lines for entry in line.entries.values()]
        gains = [_gain(entry) for _, entry in cells]
        worst_line, worst = min(cells, key=lambda pair: _gain(pair[1]))
        best_line, best = max(cells, key=lambda pair: _gain(pair[1]))
        rows.append(
            (
                adapter,
                SITUATIONS[own_lines[0].situation],
                len(own_lines),
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
    """Return every result that loses more than the interval, the largest loss first."""
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
