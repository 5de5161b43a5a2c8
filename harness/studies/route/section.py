"""Routing: accuracy and cost of a network with gates, on every shift."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median

from harness.measures.statistics import mean_sd
from harness.show import plot
from harness.show.ink import PAPER, SERIES, WIDTH, styled, tone
from harness.show.section import Cell, Picture, Section, Table
from harness.show.settings import Setting, leads, settings_of
from harness.show.shifts import outermost, short
from harness.show.text import counted, mean_of, numbered
from harness.studies.route.rows import MeasuredRow, RouteRow

GROUPS = ("many", "medium", "few")


class RouteSetting(Setting[RouteRow]):
    """The routes of one dataset, training set and recipe."""

    def of(self, method: str, shift: str | None = None, published: bool = True) -> list[RouteRow]:
        """Return rows of a method on a shift (None: on all), at the released threshold or at every one."""
        shifts = self.shifts if shift is None else [shift]
        rows = (row for row in self.rows if row.method == method and row.shift in shifts)
        return [row for row in rows if row.published or not published]


def section(results: Path) -> Section | None:
    """Show accuracy and cost by threshold and shift from the stored routes; None if there are none."""
    # One row a threshold, whichever grids it was part of.
    rows = {
        (row.checkpoint_sha256, row.shift, row.indices_sha256, row.threshold): row
        for row in RouteRow.files().load_all(results)
    }
    found = [setting for setting in settings_of(rows.values(), RouteSetting) if setting.shifts]
    if not found:
        return None
    measured = MeasuredRow.files().load_all(results)
    tables: list[Table] = []
    pictures: list[Picture] = []
    for setting, slug in zip(found, numbered(["routing"] * len(found)), strict=True):
        tables += [_shift_table(setting), _threshold_table(setting), _group_table(setting)]
        with styled():
            pictures += [_curves(setting, slug), _shares(setting, slug)]
    if measured:
        tables.append(_measured_table(measured))
    lead = leads(found, _lead)
    if measured:
        ratios = [row.faster for row in measured]
        lead += (
            f" Measured with stopped images really skipping the later experts, all experts take {min(ratios):.2f} to "
            f"{max(ratios):.2f} times as long."
        )
    return Section("routing", "Routing", lead, tuple(tables), tuple(pictures))


def _lead(setting: RouteSetting) -> str:
    parts = []
    for method in setting.methods:
        ends = []
        for shift in outermost(setting.shifts):
            rows = setting.of(method, shift)
            gained = 100 * fmean(row.top1 - row.top1_all for row in rows)
            ends.append(f"{fmean(row.mean_experts for row in rows):.2f} on {shift} ({gained:+.1f} points)")
        saved = _saved(setting.of(method))
        text = f"of {setting.of(method)[0].experts} experts {method} runs {', '.join(ends)}"
        parts.append(text + ("" if saved is None else f" and saves {100 * saved:.0f} % of the MACs over all shifts"))
    return f"At the released threshold of 0.5, and against running every expert: {'; '.join(parts)}."


def _saved(rows: Sequence[RouteRow]) -> float | None:
    """Return the mean share of MACs that routing saves."""
    return mean_of([None if row.macs is None or row.macs_all is None else 1 - row.macs / row.macs_all for row in rows])


def _shift_table(setting: RouteSetting) -> Table:
    experts = max(row.experts for row in setting.rows)
    columns = ["method", "shift", "top-1", "sd", "all experts", *GROUPS, "experts run"]
    columns += [*(f"stop after {k}" for k in range(1, experts + 1)), "MACs (M)"]
    rows = []
    for method in setting.methods:
        for shift in setting.shifts:
            own = setting.of(method, shift)
            top1 = mean_sd([row.top1 for row in own])
            cells: list[Cell] = [method, short(shift), top1.mean, top1.sd, fmean(row.top1_all for row in own)]
            cells += [mean_of([getattr(row, name) for row in own]) for name in GROUPS]
            rows.append((*cells, fmean(row.mean_experts for row in own), *_stops(own, experts), _millions(own)))
    caption = (
        f"At the released threshold, 0.5. {setting.title}, means over train seeds. stop after k: share of images shown "
        "to exactly k experts; MACs: millions an image, counting the experts that were run and no gate."
    )
    return Table(caption, tuple(columns), tuple(rows))


def _stops(rows: Sequence[RouteRow], experts: int) -> list[Cell]:
    return [fmean(row.shares[k] for row in rows) if k < rows[0].experts else None for k in range(experts)]


def _millions(rows: Sequence[RouteRow]) -> float | None:
    macs = mean_of([row.macs for row in rows])
    return None if macs is None else macs / 1e6


def _threshold_table(setting: RouteSetting) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for method in setting.methods:
        own = setting.of(method, published=False)
        for threshold in sorted({row.threshold for row in own}):
            at = [row for row in own if row.threshold == threshold]
            cells: list[Cell] = [method, threshold, fmean(row.top1 for row in at)]
            cells += [mean_of([getattr(row, name) for row in at]) for name in GROUPS]
            rows.append((*cells, fmean(row.mean_experts for row in at), _millions(at)))
    count = len(setting.shifts)
    over = f"{count} shifts" if count > 1 else setting.shifts[0]
    caption = (
        f"Every threshold. {setting.title}; means over {over} and train seeds. The released code's threshold is 0.5."
    )
    return Table(caption, ("method", "threshold", "top-1", *GROUPS, "experts run", "MACs (M)"), tuple(rows))


def _group_table(setting: RouteSetting) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for method in setting.methods:
        for shift in outermost(setting.shifts):
            own = setting.of(method, shift)
            means = []
            for group in GROUPS:
                shares = [getattr(row, f"shares_{group}") for row in own]
                means.append(mean_of([None if share is None else _mean_experts(share) for share in shares]))
            rows.append((method, shift, *means))
    caption = f"Mean experts run on images of each shot group, at the released threshold. {setting.title}."
    return Table(caption, ("method", "shift", *GROUPS), tuple(rows))


def _mean_experts(shares: Sequence[float]) -> float:
    return sum((k + 1) * share for k, share in enumerate(shares))


def _measured_table(rows: Sequence[MeasuredRow]) -> Table:
    columns = ["method", "seed", "shift", "images", "experts run", "all experts s", "skipping s", "times faster"]
    columns += ["times less CPU", "times fewer MACs", "device"]
    lines: list[tuple[Cell, ...]] = [
        (
            row.method,
            row.train_seed,
            short(row.shift),
            row.images,
            row.mean_experts,
            median(row.seconds_all),
            median(row.seconds),
            row.faster,
            row.cpu_ratio,
            None if row.macs is None or row.macs_all is None else row.macs_all / row.macs,
            f"{row.device}, {row.threads} threads",
        )
        for row in rows
    ]
    caption = (
        "Measured: forward passes of the test images with stopped images skipping the later experts, beside all "
        "experts, in turns; medians of the repeats."
    )
    return Table(caption, tuple(columns), tuple(lines))


def _curves(setting: RouteSetting, slug: str) -> Picture:
    """Draw top-1 against cost on the outermost shifts and uniform, thresholds joined, the released one marked."""
    from matplotlib.figure import Figure

    shifts = outermost(setting.shifts)
    with_macs = all(row.macs is not None for row in setting.rows)
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    grid = figure.subplots(1, len(shifts), squeeze=False)
    for axes, shift in zip(grid.flat, shifts, strict=True):
        for number, method in enumerate(setting.methods):
            own = setting.of(method, shift, published=False)
            style = tone(number)
            points = []
            for threshold in sorted({row.threshold for row in own}):
                at = [row for row in own if row.threshold == threshold]
                macs = _millions(at) if with_macs else None
                cost = fmean(row.mean_experts for row in at) if macs is None else macs
                points.append((cost, 100 * fmean(row.top1 for row in at), at[0].published))
            axes.plot([cost for cost, _, _ in points], [top1 for _, top1, _ in points], label=method, **style)
            for cost, top1, released in points:
                if released:
                    plot.star(axes, cost, top1, style["color"], "threshold 0.5 (released code)")
        axes.set_title(shift)
        axes.margins(x=0.06, y=0.12)
    grid.flat[0].set_ylabel("top-1 %")
    figure.supxlabel("MACs an image, millions" if with_macs else "mean experts run", fontsize=8)
    plot.key(figure, grid.flat)
    return Picture(
        f"{slug}-cost",
        figure,
        f"Accuracy against cost: each point is a threshold, from one expert (left) to all (right). {setting.title}, "
        "means; scales differ between panels.",
        f"Top-1 accuracy against cost by threshold for {', '.join(setting.methods)} on {', '.join(shifts)}; figures "
        "are in the tables.",
    )


def _shares(setting: RouteSetting, slug: str) -> Picture:
    """Draw how many experts images are shown to, shift by shift, at the released threshold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 2.2), layout="constrained")
    grid = figure.subplots(1, len(setting.methods), sharey=True, squeeze=False)
    places = list(range(len(setting.shifts)))
    for axes, method in zip(grid.flat, setting.methods, strict=True):
        below = [0.0] * len(places)
        experts = setting.of(method)[0].experts
        for k in range(experts):
            heights = [100 * fmean(row.shares[k] for row in setting.of(method, shift)) for shift in setting.shifts]
            label = counted(k + 1, "expert")
            colour = SERIES[(0, 4, 1, 2, 3, 5)[k % 6]]
            axes.bar(
                places, heights, bottom=below, width=0.8, color=colour, edgecolor=PAPER, linewidth=0.5, label=label
            )
            below = [low + height for low, height in zip(below, heights, strict=True)]
        axes.set_title(method)
        axes.set_xticks(places, [short(shift) for shift in setting.shifts])
        axes.grid(axis="x", visible=False)
        axes.tick_params(axis="x", labelrotation=0 if len(places) <= 12 else 60)
        axes.set_ylim(0, 100)
    grid.flat[0].set_ylabel("images %")
    plot.key(figure, grid.flat)
    return Picture(
        f"{slug}-shares",
        figure,
        f"Share of images shown to exactly one, two, ... experts at the released threshold. {setting.title}, means.",
        f"Stacked shares of images by number of experts run over shifts for {', '.join(setting.methods)}; figures are "
        "in the table.",
    )
