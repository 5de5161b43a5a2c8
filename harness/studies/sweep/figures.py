"""Figures of the preference sweep: ternary maps, head against tail, what choosing costs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from harness.show import plot
from harness.show.ink import FAINT, SERIES, WIDTH, tone
from harness.show.section import Picture
from harness.show.shifts import outermost
from harness.studies.sweep.control import non_dominated
from harness.studies.sweep.rows import Sweep
from harness.studies.sweep.settings import SweepSetting, top1, usable

MAPS = ("many", "medium", "few", "top1")
MOST_METHODS = 6


def _shown(setting: SweepSetting) -> list[str]:
    """Return the methods that figures show: all, or the first few."""
    return list(setting.by_method)[:MOST_METHODS]


def _where(setting: SweepSetting) -> str:
    """Return the shift whose shot groups figures show: uniform if it was swept."""
    return "uniform" if "uniform" in setting.shifts else setting.shifts[len(setting.shifts) // 2]


def _averaged(sweeps: Sequence[Sweep], name: str) -> Float[np.ndarray, " points"] | None:
    """Return the accuracy at each point, the mean over checkpoints on the lattice of the first."""
    same = [sweep for sweep in sweeps if len(sweep.lattice) == len(sweeps[0].lattice)]
    values = [sweep.accuracy(name) for sweep in same]
    known = [value for value in values if value is not None]
    return np.mean(known, axis=0) if known and len(known) == len(values) else None


def maps(setting: SweepSetting, slug: str) -> Picture | None:
    """Draw ternary maps of many, medium, few and top-1: a row for each method with three experts; None without one."""
    import mpltern  # noqa: F401  (registers the projection)
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    shift = _where(setting)
    drawn = [m for m in _shown(setting) if (of := setting.of(m, shift)) and of[0].points.shape[1] == 3]
    values = {(m, name): _averaged(setting.of(m, shift), name) for m in drawn for name in MAPS}
    names = [name for name in MAPS if drawn and all(values[m, name] is not None for m in drawn)]
    if not names:
        return None
    line_height, start, share = 1.38, 0.165, 0.835 / len(names)
    figure = Figure(figsize=(WIDTH, line_height * len(drawn) + 1.0))
    foot, line_share = 0.62 / figure.get_figheight(), line_height / figure.get_figheight()
    for column, name in enumerate(names):
        found = [100 * value for m in drawn if (value := values[m, name]) is not None]
        norm = Normalize(min(map(np.min, found)), max(map(np.max, found)))
        mesh = None
        for line, (method, accuracy) in enumerate(zip(drawn, found, strict=True)):
            bottom = foot + (len(drawn) - 1 - line) * line_share
            box = (start + column * share + 0.02, bottom + 0.02, share - 0.04, 0.86 * line_share)
            axes: Any = figure.add_axes(box, projection="ternary")
            points = setting.of(method, shift)[0].points
            # top: uniform, left: forward, right: backward, so that maps read from head to tail
            mesh = axes.tripcolor(
                points[:, 1], points[:, 0], points[:, 2], accuracy, shading="gouraud", cmap="viridis", norm=norm
            )
            _bare(axes, first=line == 0, last=line == len(drawn) - 1)
            if line == 0:
                title = "top-1" if name == "top1" else name
                axes.set_title(title, pad=14, fontsize=9, fontweight="bold")
            if column == 0:
                text = method.replace(":", ":\n").replace("=", "=\n")
                figure.text(0.005, bottom + 0.4 * line_share, text, va="center", fontsize=8)
        assert mesh is not None
        bar = figure.add_axes((start + column * share + 0.03, 0.48 * foot, share - 0.06, 0.12 * foot))
        figure.colorbar(mesh, cax=bar, orientation="horizontal").ax.tick_params(labelsize=7.5, length=2)
        bar.grid(False)
    figure.text(0.005, 0.54 * foot, "accuracy %", fontsize=8, va="center")
    return Picture(
        f"{slug}-maps",
        figure,
        f"Accuracy over the simplex of preferences, test {shift}. {setting.title}, mean over seeds; one colour scale "
        "for each column, so a map of one colour is a model that ignores the preference.",
        f"Ternary maps of {', '.join(MAPS)} accuracy over preferences (forward, uniform, backward) for "
        f"{', '.join(drawn)}; the ranges are in the table of control.",
    )


def _bare(axes: Any, first: bool, last: bool) -> None:
    """Take the ticks away; name corners in the first and the last line of maps."""
    for side in (axes.taxis, axes.laxis, axes.raxis):
        side.set_ticks([])
    axes.grid(False)
    style = {"fontsize": 7, "color": FAINT}
    if first:
        axes.text(1, 0, 0, "uniform", ha="center", va="bottom", **style)
    if last:
        axes.text(0, 1, 0, "forward", ha="left", va="top", **style)
        axes.text(0, 0, 1, "backward", ha="right", va="top", **style)


def front(setting: SweepSetting, slug: str) -> Picture | None:
    """Draw many against few: every preference, non-dominated ones joined, the centre marked; None without groups."""
    from matplotlib.figure import Figure

    shift = _where(setting)
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    drawn = []
    for number, method in enumerate(_shown(setting)):
        sweeps = setting.of(method, shift)
        many, few = (_averaged(sweeps, name) for name in ("many", "few"))
        if many is None or few is None:
            continue
        drawn.append(method)
        style = tone(number)
        axes.scatter(100 * many, 100 * few, s=7, color=style["color"], alpha=0.3, linewidths=0)
        kept = np.flatnonzero(non_dominated(np.stack([many, few], axis=1)))
        order = kept[np.argsort(many[kept])]
        kind = sweeps[0].first.kind
        axes.plot(100 * many[order], 100 * few[order], label=f"{method} ({kind})", markersize=2.5, **style)
        centre = sweeps[0].chosen["centre"].point
        plot.star(axes, 100 * many[centre], 100 * few[centre], style["color"])
    if not drawn:
        return None
    axes.set(xlabel="many-shot accuracy %", ylabel="few-shot accuracy %")
    plot.key(figure, [axes])
    return Picture(
        f"{slug}-front",
        figure,
        f"Head against tail, test {shift}. {setting.title}, mean over seeds. Dots: every preference; lines: those that "
        "no other one of the same method beats in both; star: equal shares. A method whose dots lie on one spot cannot "
        "be steered.",
        f"Few-shot against many-shot accuracy of every preference for {', '.join(drawn)}; ranges are in the table.",
    )


def choices(setting: SweepSetting, slug: str) -> Picture:
    """Draw top-1 over shifts by way of choosing, a panel for each method."""
    drawn = _shown(setting)
    axis = plot.ShiftAxis(tuple(setting.shifts))
    styles = {choice: tone(number) for number, choice in enumerate(("em", "stability", "centre", "corner"))}
    styles["best"] = {"color": SERIES[5], "marker": "none", "linewidth": 2.6, "alpha": 0.45}
    names = {"em": "EM estimate", "stability": "view stability", "best": "best (test labels)"}
    figure, axes = plot.panels(len(drawn), below=axis.below)
    for panel, method in zip(axes, drawn, strict=True):
        group = setting.common(method)
        panel.set_title(plot.heading(method))
        for choice in ("best", "em", "stability", "centre", "corner"):
            if choice in usable(group):
                tops = {shift: top1(group, choice, shift) or 0 for shift in setting.shifts}
                plot.line(panel, axis, tops, label=names.get(choice, choice), **styles[choice])
        axis.label(panel)
    plot.key(figure, axes)
    figure.supxlabel(plot.AXIS_TEXT, fontsize=8)
    figure.supylabel("top-1 %", fontsize=8)
    outer = ", ".join(outermost(setting.shifts))
    return Picture(
        f"{slug}-choices",
        figure,
        f"What choosing a preference costs. {setting.title}, mean over seeds. The wide grey line is the best "
        "preference of each shift, chosen with the test labels; corner: the expert made for the shift.",
        f"Top-1 accuracy over shifts ({outer}) by way of choosing the preference, for {', '.join(drawn)}; figures are "
        "in the table.",
    )
