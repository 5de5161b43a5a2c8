"""Preference sweeps: does a hypernetwork buy control over head and tail, and what does choosing without labels cost?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from harness.control import non_dominated
from harness.report.ink import FAINT, INK, SERIES, WIDTH, outermost, styled, tone
from harness.report.section import Cell, Picture, Section, Table
from harness.statistics import mean_sd
from harness.studies.sweep_rows import CHOICES, Sweep, SweepRow, mean_of, sweeps_of
from harness.studies.sweep_text import by_method, by_seed
from harness.table import knew, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAPS = ("many", "medium", "few", "top1")
MOST_METHODS = 6


@dataclass(frozen=True)
class Setting:
    """The sweeps of one dataset, training set and recipe."""

    sweeps: tuple[Sweep, ...]

    @cached_property
    def methods(self) -> dict[str, list[Sweep]]:
        """Sweeps by method, hypernetworks first, then by kind and name."""
        order = ("hypernetwork", "weights", "adjustment")
        groups = by_method(self.sweeps)
        ranked = sorted(groups.items(), key=lambda item: (order.index(item[1][0].first.kind), item[0]))
        return dict(ranked)

    @cached_property
    def shifts(self) -> list[str]:
        """Shifts that every method was swept on, forward before uniform before backward, larger ratios outermost."""
        common = set.intersection(*({sweep.first.shift for sweep in group} for group in self.methods.values()))
        rows = {sweep.first.shift: sweep.first for sweep in self.sweeps if sweep.first.shift in common}
        return sorted(rows, key=lambda shift: shift_order(rows[shift]))

    @property
    def title(self) -> str:
        """In words, for captions."""
        first = self.sweeps[0].first
        seeds = len({sweep.first.train_seed for sweep in self.sweeps})
        many = f"{seeds} train seeds" if seeds > 1 else "one train seed"
        return f"{first.dataset}, {first.train_n:,} training images, recipe {first.recipe or 'none'}, {many}"

    def of(self, method: str, shift: str) -> list[Sweep]:
        """The sweeps of a method's checkpoints on a shift."""
        return [sweep for sweep in self.methods[method] if sweep.first.shift == shift]

    def common(self, method: str) -> list[Sweep]:
        """The sweeps of a method on the shifts that all methods share."""
        return [sweep for sweep in self.methods[method] if sweep.first.shift in self.shifts]


def shift_order(row: SweepRow) -> tuple[int, float, str]:
    """Sorting key of shifts: forward from the largest ratio, uniform, backward to the largest, then the others."""
    place = {"forward_lt": 0, "uniform": 1, "backward_lt": 2}.get(row.shift_kind, 3)
    ratio = row.shift_ratio or 0.0
    return place, -ratio if place == 0 else ratio, row.shift


def section(results: Path) -> Section | None:
    """Control, front, choices and their regret, from the stored sweeps; None where there are none."""
    found = _settings(sweeps_of(SweepRow.load_all(results)))
    if not found:
        return None
    tables: list[Table] = []
    pictures: list[Picture] = []
    for number, setting in enumerate(found):
        tables += [_control_table(setting), _choice_table(setting), _shift_table(setting)]
        slug = "preference" if number == 0 else f"preference-{number + 1}"
        with styled():
            pictures += [_maps(setting, slug), _front(setting, slug), _choices(setting, slug)]
    lead = " ".join(_lead(setting, several=len(found) > 1) for setting in found)
    return Section("preference", "Preference sweep", lead, tuple(tables), tuple(pictures))


def _settings(sweeps: Sequence[Sweep]) -> list[Setting]:
    groups: dict[tuple[str | None, ...], list[Sweep]] = {}
    for sweep in sweeps:
        row = sweep.first
        key = row.dataset, row.train_fingerprint, row.train_counts_sha256, row.recipe_sha256
        groups.setdefault(key, []).append(sweep)
    settings = [Setting(tuple(group)) for _, group in sorted(groups.items(), key=lambda item: str(item[0]))]
    return [setting for setting in settings if setting.shifts]


def _mean(setting: Setting, method: str, name: str) -> float | None:
    """Mean over checkpoints and shared shifts: control, volume, or `GROUP span`."""
    group = setting.common(method)
    if name.endswith(" span"):
        return mean_of(by_seed(group, lambda sweep: _span(sweep, name.removesuffix(" span"))))
    return mean_of(by_seed(group, lambda sweep: getattr(sweep, name)))


def _span(sweep: Sweep, name: str) -> float | None:
    reach = sweep.reach(name)
    return None if reach is None else reach[1] - reach[0]


def _lead(setting: Setting, several: bool) -> str:
    """What the sweep shows, in two sentences."""
    kinds = {method: group[0].first.kind for method, group in setting.methods.items()}
    parts = []
    for method, kind in kinds.items():
        span, control = _mean(setting, method, "few span"), _mean(setting, method, "control")
        if span is not None:
            said = "" if control is None else f", rank correlation {control:.2f}"
            parts.append(f"{100 * span:.1f} points in {method} ({kind}{said})")
    text = f"{setting.title}: " if several else ""
    if parts:
        text += f"From one end of the simplex to the other, few-shot accuracy moves by {_listed(parts)}. "
    volumes = {method: volume for method in kinds if (volume := _mean(setting, method, "volume")) is not None}
    networks = {
        method: volumes[method] for method, kind in kinds.items() if kind == "hypernetwork" and method in volumes
    }
    controls = {method: volume for method, volume in volumes.items() if method not in networks}
    if networks and controls:
        best, control = max(networks, key=lambda m: networks[m]), max(controls, key=lambda m: controls[m])
        verdict = "more" if networks[best] > controls[control] else "less"
        text += (
            f"The best hypernetwork, {best}, spans {verdict} than the best control without one, {control}: hypervolume "
            f"{networks[best]:.3f} against {controls[control]:.3f}. "
        )
    regrets = []
    for choice, said in (("em", "EM's estimate"), ("stability", "view stability"), ("centre", "equal shares")):
        values = {method: value[0] for method in kinds if (value := _regret(setting, method, choice)) is not None}
        if values:
            least, most = min(values, key=lambda m: values[m]), max(values, key=lambda m: values[m])
            span = f" ({least}) to {100 * values[most]:.1f} ({most})" if len(values) > 1 else ""
            regrets.append(f"{said} {100 * values[least]:.1f}{span}")
    return text + (
        f"Below the best preference of each shift, in points of top-1: {_listed(regrets)}." if regrets else ""
    )


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _regret(setting: Setting, method: str, choice: str) -> tuple[float, float | None, float] | None:
    """Mean regret over seeds and shared shifts, its deviation over seeds, and that of the worst shift."""
    group = setting.common(method)
    values = by_seed(group, lambda sweep: sweep.regret(choice))
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    worst = max(
        np.mean([regret for sweep in setting.of(method, shift) if (regret := sweep.regret(choice)) is not None])
        for shift in setting.shifts
    )
    over = mean_sd(known)
    return over.mean, over.sd, float(worst)


def _control_table(setting: Setting) -> Table:
    columns = (
        "method",
        "kind",
        "seeds",
        "control",
        "sd",
        "many from",
        "many to",
        "few from",
        "few to",
        "volume",
        "sd of it",
    )
    rows = []
    for method, group in setting.methods.items():
        own = setting.common(method)
        cells: list[Cell] = [method, group[0].first.kind, len(by_seed(own, lambda sweep: 0.0))]
        cells += _mean_and_sd(by_seed(own, lambda sweep: sweep.control))
        for name in ("many", "few"):
            cells += [mean_of(by_seed(own, lambda s, n=name, e=end: _end(s, n, e))) for end in (0, 1)]  # type: ignore[misc]
        cells += _mean_and_sd(by_seed(own, lambda sweep: sweep.volume))
        rows.append(tuple(cells))
    caption = (
        f"Control over head and tail. {setting.title}; means over {_shifts(setting)}, {_points(setting)}. control: "
        "Spearman correlation of (alpha backward - alpha forward) with (few - many); from, to: lowest and highest "
        "accuracy on the lattice; volume: hypervolume of the non-dominated points in (many, medium, few); sd over "
        "train seeds."
    )
    return Table(caption, columns, tuple(rows))


def _end(sweep: Sweep, name: str, end: int) -> float | None:
    reach = sweep.reach(name)
    return None if reach is None else reach[end]


def _mean_and_sd(values: Sequence[float | None]) -> list[Cell]:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return [None, None]
    over = mean_sd(known)
    return [over.mean, over.sd]


def _choice_table(setting: Setting) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for method in setting.methods:
        group = setting.common(method)
        for choice in _usable(group):
            top1 = _mean_and_sd(by_seed(group, lambda sweep, c=choice: sweep.chosen[c].top1))  # type: ignore[misc]
            regret = _regret(setting, method, choice)
            assert regret is not None  # `_usable` says that it was chosen everywhere
            rows.append((method, choice, _knew(group[0].chosen[choice]), *top1, *regret))
    caption = (
        f"Choosing a preference. {setting.title}; means over {_shifts(setting)}. regret: top-1 below the best "
        "preference of the same shift, which is chosen with the test labels; worst: mean regret on the worst shift. "
        "centre: equal shares; corner: the expert made for the shift; stability: two views agree best; em: label prior "
        "nearest to EM's estimate of the test prior."
    )
    return Table(caption, ("method", "chosen by", "knew", "top-1", "sd", "regret", "sd of it", "worst"), tuple(rows))


def _shift_table(setting: Setting) -> Table:
    rows = []
    for method in setting.methods:
        for choice in _usable(setting.common(method)):
            cells = [mean_of([s.chosen[choice].top1 for s in setting.of(method, shift)]) for shift in setting.shifts]
            rows.append((method, choice, *cells))
    caption = f"Top-1 of each way of choosing, shift by shift. {setting.title}; means over train seeds."
    return Table(caption, ("method", "chosen by", *map(short, setting.shifts)), tuple(rows))


def _usable(group: Sequence[Sweep]) -> list[str]:
    return [choice for choice in CHOICES if all(choice in sweep.chosen for sweep in group)]


def _knew(row: SweepRow) -> str:
    access = ("prior_access", "label_access", "test_access")
    return knew({name: getattr(row, name) for name in access} | {"source_n": 0})


def _shifts(setting: Setting) -> str:
    count = len(setting.shifts)
    return f"{count} shifts" if count > 1 else setting.shifts[0]


def _points(setting: Setting) -> str:
    counts = sorted({len(sweep.lattice) for sweep in setting.sweeps})
    return f"{' or '.join(map(str, counts))} preferences"


def _shown(setting: Setting) -> list[str]:
    """Methods that figures show: all, or the first few."""
    return list(setting.methods)[:MOST_METHODS]


def _where(setting: Setting) -> str:
    """The shift whose shot groups figures show: the whole pool where it was swept."""
    return "uniform" if "uniform" in setting.shifts else setting.shifts[len(setting.shifts) // 2]


def _averaged(sweeps: Sequence[Sweep], name: str) -> Float[np.ndarray, " points"] | None:
    """Accuracy at each point, the mean over checkpoints on the first one's lattice."""
    same = [sweep for sweep in sweeps if len(sweep.lattice) == len(sweeps[0].lattice)]
    values = [sweep.accuracy(name) for sweep in same]
    known = [value for value in values if value is not None]
    return np.mean(known, axis=0) if known and len(known) == len(values) else None


def _maps(setting: Setting, slug: str) -> Picture:
    """Ternary maps of many, medium, few and top-1: a row of maps for each method with three experts."""
    import mpltern  # noqa: F401  (registers the projection)
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    shift = _where(setting)
    drawn = [m for m in _shown(setting) if (of := setting.of(m, shift)) and of[0].points.shape[1] == 3]
    values = {(m, name): _averaged(setting.of(m, shift), name) for m in drawn for name in MAPS}
    names = [name for name in MAPS if all(values[m, name] is not None for m in drawn)] if drawn else []
    line_height, start, share = 1.38, 0.165, 0.835 / max(len(names), 1)
    figure = Figure(figsize=(WIDTH, line_height * len(drawn) + 1.0))
    foot, line_share = 0.62 / figure.get_figheight(), line_height / figure.get_figheight()
    for column, name in enumerate(names):
        found = [100 * value for m in drawn if (value := values[m, name]) is not None]
        norm = Normalize(min(map(np.min, found)), max(map(np.max, found)))
        mesh = None
        for line, (method, accuracy) in enumerate(zip(drawn, found, strict=True)):
            bottom = foot + (len(drawn) - 1 - line) * line_share
            box = (start + column * share + 0.02, bottom + 0.02, share - 0.04, 0.86 * line_share)
            axes = figure.add_axes(box, projection="ternary")
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


def _bare(axes: "Axes", first: bool, last: bool) -> None:
    """A simplex without ticks; corners are named in the first and the last line of maps."""
    for side in (axes.taxis, axes.laxis, axes.raxis):  # type: ignore[attr-defined]
        side.set_ticks([])
    axes.grid(False)
    style = {"fontsize": 7, "color": FAINT}
    if first:
        axes.text(1, 0, 0, "uniform", ha="center", va="bottom", **style)  # type: ignore[arg-type,call-arg]
    if last:
        axes.text(0, 1, 0, " forward", ha="center", va="top", **style)  # type: ignore[arg-type,call-arg]
        axes.text(0, 0, 1, "backward ", ha="center", va="top", **style)  # type: ignore[arg-type,call-arg]


def _front(setting: Setting, slug: str) -> Picture:
    """Many against few: every preference, the non-dominated ones joined, the ways of choosing marked."""
    from matplotlib.figure import Figure

    shift = _where(setting)
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
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
        axes.scatter(
            [100 * many[centre]],
            [100 * few[centre]],
            s=120,
            marker="*",
            color=style["color"],
            edgecolor=INK,
            linewidths=0.7,
            zorder=5,
        )
    axes.set(xlabel="many-shot accuracy %", ylabel="few-shot accuracy %")
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=2, handlelength=2.6)
    return Picture(
        f"{slug}-front",
        figure,
        f"Head against tail, test {shift}. {setting.title}, mean over seeds. Dots: every preference; lines: those that "
        "no other one of the same method beats in both; star: equal shares. A method whose dots lie on one spot cannot "
        "be steered.",
        f"Few-shot against many-shot accuracy of every preference for {', '.join(drawn)}; ranges are in the table.",
    )


def _choices(setting: Setting, slug: str) -> Picture:
    """Top-1 over shifts by way of choosing, a panel for each method."""
    from matplotlib.figure import Figure

    drawn = _shown(setting)
    columns = min(2, len(drawn))
    lines = -(-len(drawn) // columns)
    figure = Figure(figsize=(WIDTH, 1.9 * lines + 0.5), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    places = range(len(setting.shifts))
    styles = {choice: tone(number) for number, choice in enumerate(("em", "stability", "centre", "corner"))}
    styles["best"] = {"color": SERIES[5], "marker": "", "linestyle": "-", "linewidth": 2.6, "alpha": 0.45}
    names = {"em": "EM estimate", "stability": "view stability", "best": "best (test labels)"}
    for axes, method in zip(grid.flat, drawn, strict=False):
        group = setting.common(method)
        for choice in ("best", *styles):
            if choice in _usable(group) and (choice != "best" or not axes.lines):
                tops = [mean_of([s.chosen[choice].top1 for s in setting.of(method, shift)]) for shift in setting.shifts]
                axes.plot(places, [100 * (top or 0) for top in tops], label=names.get(choice, choice), **styles[choice])
        axes.set_title(f"{method} ({group[0].first.kind})", loc="left")
        axes.set_xticks(list(places), [short(shift) for shift in setting.shifts])
        axes.tick_params(axis="x", labelrotation=0 if len(setting.shifts) <= 12 else 60, labelsize=7)
    for axes in grid.flat[len(drawn) :]:
        axes.set_visible(False)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=5, handlelength=2.4, columnspacing=1.2)
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
