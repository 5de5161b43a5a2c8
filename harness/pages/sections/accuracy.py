"""Accuracy against the shift, and against its distance from the training prior."""

from typing import TYPE_CHECKING

from harness.board.schema import Entry
from harness.pages.blocks import Block, Line
from harness.show import ink, plot
from harness.show.access import SITUATIONS
from harness.show.cells import listed, percent, points
from harness.show.section import Picture, Section, Table
from harness.show.shifts import is_ordered, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN, BANDS = 5, 4
"""Adapters of one situation with a colour of their own (further ones are drawn grey); most that have bands as well."""


def by_shift(block: Block) -> Section:
    """Show accuracy against the shift in each situation of access; over several shifts drawn, a panel for a method."""
    pictures, tables = [], []
    for key in SITUATIONS:
        lines = block.of(key)
        if lines:
            if len(block.shifts) > 1:
                pictures.append(_against_shift(block, key, lines))
            tables.append(_side_by_side(block, key, lines))
    return Section("accuracy", "Accuracy against shift", _lead(block), tuple(tables), tuple(pictures))


def by_distance(block: Block) -> Section | None:
    """Show accuracy against the distance of the test prior from the training prior, with and without adaptation."""
    plain = block.plain
    drawn = [method for method in block.methods if method in plain and len(plain[method].entries) > 1]
    if not drawn:
        return None
    best = {method: _first(block, method, "transductive") for method in drawn}
    told = {method: _first(block, method, "told") for method in drawn}
    rows = []
    with ink.styled():
        figure, axes = plot.panels(len(drawn))
        for panel, method in zip(axes, drawn, strict=True):
            panel.set_title(plot.heading(method))
            shown = {
                "no adaptation": plain[method],
                "unlabelled test set": best[method],
                "told the truth": told[method],
            }
            for number, (label, line) in enumerate(shown.items()):
                if line is not None:
                    _against_distance(panel, line, number, label)
            panel.set_xlim(-0.02, 1.0)
            near, far = _ends(plain[method])
            rows.append(
                (
                    method,
                    near["top1"]["mean"],
                    far["top1"]["mean"],
                    far["top1"]["mean"] - near["top1"]["mean"],
                    *_at_far(best[method], far["shift"]),
                    *_at_far(told[method], far["shift"]),
                )
            )
        plot.key(figure, axes)
        figure.supxlabel("total variation between training and test prior", fontsize=8)
        figure.supylabel(f"{block.measure} %", fontsize=8)
    near, far = _ends(plain[drawn[0]])
    least = max(rows, key=lambda row: row[3])
    most = min(rows, key=lambda row: row[3])
    lead = (
        f"From {near['shift']} (TV {near['tv_train_test']:.2f}) to {far['shift']} (TV {far['tv_train_test']:.2f}) "
        f"{least[0]} changes least without adaptation ({points(least[3])} points), {most[0]} most ({points(most[3])})."
    )
    columns = (
        "method",
        f"{short(near['shift'])}: {block.measure} %",
        f"{short(far['shift'])}: {block.measure} %",
        "difference, points",
        "best adapter",
        f"{short(far['shift'])} with it %",
        "best upper reference",
        f"{short(far['shift'])} with that %",
    )
    picture = Picture(
        f"{block.slug}-distance",
        figure,
        "Accuracy against the total variation between training and test prior, one panel a method. Besides no "
        "adaptation: the adapter of the unlabelled test set, and the upper reference, with the highest mean over the "
        "shifts (chosen in hindsight, by test labels). Hollow marks: shifts that follow no order of the classes.",
        f"Line charts of accuracy against total variation for {listed(drawn, 12)}; numbers are in the table below.",
    )
    table = Table("Nearest and farthest shift, mean over train seeds", columns, tuple(rows))
    return Section("distance", "Accuracy against distance", lead, (table,), (picture,))


def _lead(block: Block) -> str:
    sentences = []
    several = len(block.shifts) > 1
    over = f"means over the {len(block.shifts)} shifts run" if several else f"{block.measure} on {block.shifts[0]} runs"
    for key, title in SITUATIONS.items():
        lines = [line for line in block.of(key) if len(line.entries) == len(block.shifts)]
        if lines:
            best = max(lines, key=lambda line: line.mean)
            worst = min(lines, key=lambda line: line.mean)
            sentences.append(
                f"{title}: {over} from {percent(worst.mean)} ({worst.name}) to {percent(best.mean)} ({best.name})."
            )
    return " ".join(sentences) or "No method was measured on all shifts of this block."


def _against_shift(block: Block, key: str, lines: list[Line]) -> Picture:
    """Draw a panel for each method, with grey lines for comparison."""
    axis = plot.ShiftAxis(block.shifts)
    plain = block.plain
    drawn = [method for method in block.methods if any(line.method == method for line in lines)]
    adapters = _ranked_adapters(lines)
    coloured = adapters[:SHOWN]
    bands = block.seeds > 1 and len(coloured) <= BANDS
    with ink.styled():
        figure, axes = plot.panels(len(drawn), below=axis.below)
        for panel, method in zip(axes, drawn, strict=True):
            panel.set_title(plot.heading(method))
            if key == "inductive":
                for other in plain.values():
                    if other.method != method:
                        _grey(panel, axis, other, "other methods")
            elif method in plain:
                plot.line(panel, axis, _means(plain[method]), color=ink.INK, marker="none", label="no adaptation")
            by_adapter = {line.adapter: line for line in lines if line.method == method}
            for adapter in adapters[SHOWN:]:
                if adapter in by_adapter:
                    _grey(panel, axis, by_adapter[adapter], "other adapters")
            for number, adapter in enumerate(coloured):
                if adapter in by_adapter:
                    label = "no adaptation" if adapter == "mean" else adapter
                    spread = _spread(by_adapter[adapter]) if bands else {}
                    plot.line(panel, axis, _means(by_adapter[adapter]), spread, label=label, **ink.tone(number))
            axis.label(panel)
        plot.key(figure, axes)
        figure.supxlabel(plot.AXIS_TEXT, fontsize=8)
        figure.supylabel(f"{block.measure} %", fontsize=8)
    band = " Bands: one standard deviation over train seeds." if bands else ""
    free = "" if all(map(is_ordered, block.shifts)) else " Right of the gap: order-free shifts, mean over their seeds."
    grey = listed(adapters[SHOWN:], 12)
    others = f" In colour the {SHOWN} with the highest mean gain; grey: {grey}." if grey else ""
    return Picture(
        f"{block.slug}-accuracy-{key}",
        figure,
        f"{SITUATIONS[key]}: accuracy on each test set, one panel a method.{band}{free}{others}",
        f"Line charts of accuracy against shift for {listed(drawn, 12)} with {listed(adapters, 12)}; "
        "numbers are in the table below.",
    )


def _side_by_side(block: Block, key: str, lines: list[Line]) -> Table:
    """Return means over train seeds, a column for each shift."""
    rows = []
    for line in lines:
        means = _means(line)
        whole = len(means) == len(block.shifts)
        rows.append(
            (
                line.method,
                line.adapter,
                *(means.get(shift) for shift in block.shifts),
                line.mean if whole else None,
                min(means.values()) if whole else None,
            )
        )
    columns = ("method", "adapter", *(f"{short(shift)} %" for shift in block.shifts), "mean %", "worst %")
    return Table(f"{SITUATIONS[key]}: {block.measure}, mean over train seeds", columns, tuple(rows))


def _against_distance(panel: "Axes", line: Line, number: int, label: str) -> None:
    colour = ink.INK if number == 0 else ink.SERIES[number - 1]
    for ordered in (True, False):
        placed = sorted(
            (entry["tv_train_test"], 100 * entry["top1"]["mean"])
            for shift, entry in line.entries.items()
            if is_ordered(shift) == ordered
        )
        if placed:
            xs, ys = zip(*placed, strict=True)
            panel.plot(
                xs,
                ys,
                color=colour,
                marker=ink.MARKERS[number],
                linestyle="-" if ordered else "none",
                markerfacecolor=colour if ordered else "none",
                label=label if ordered else None,
            )


def _ends(line: Line) -> tuple[Entry, Entry]:
    """Return the entries nearest to and farthest from the training prior, of ordered shifts if there are two."""
    entries = [entry for shift, entry in line.entries.items() if is_ordered(shift)]
    if len(entries) < 2:
        entries = list(line.entries.values())
    ordered = sorted(entries, key=lambda entry: (entry["tv_train_test"], entry["shift"]))
    return ordered[0], ordered[-1]


def _at_far(line: Line | None, shift: str) -> tuple[str | None, float | None]:
    if line is None or shift not in line.entries:
        return None, None
    return line.adapter, line.entries[shift]["top1"]["mean"]


def _first(block: Block, method: str, key: str) -> Line | None:
    """Return the method's line with the highest mean in a situation, among those with the most shifts."""
    return next((line for line in block.of(key) if line.method == method), None)


def _ranked_adapters(lines: list[Line]) -> list[str]:
    """Rank adapters by their mean gain over methods and shifts, after no adaptation."""
    gains: dict[str, list[float]] = {}
    for line in lines:
        gains.setdefault(line.adapter, []).extend(entry["delta_to_mean"]["mean"] for entry in line.entries.values())
    return sorted(gains, key=lambda name: (name != "mean", -sum(gains[name]) / len(gains[name]), name))


def _means(line: Line) -> dict[str, float]:
    return {shift: entry["top1"]["mean"] for shift, entry in line.entries.items()}


def _spread(line: Line) -> dict[str, float | None]:
    return {shift: entry["top1"]["sd"] for shift, entry in line.entries.items()}


def _grey(panel: "Axes", axis: plot.ShiftAxis, line: Line, label: str) -> None:
    plot.line(panel, axis, _means(line), color=ink.MUTED, marker="none", linewidth=0.9, label=label, zorder=1)
