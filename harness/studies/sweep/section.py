"""Preference sweeps: does a hypernetwork buy control over head and tail, and what does choosing without labels cost?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.measures.statistics import mean_sd
from harness.show.access import knew
from harness.show.ink import styled
from harness.show.section import Cell, Picture, Section, Table
from harness.show.shifts import short
from harness.show.text import mean_of
from harness.studies.sweep.figures import choices, front, maps
from harness.studies.sweep.rows import Sweep, SweepRow, sweeps_of
from harness.studies.sweep.settings import Setting, settings_of, usable
from harness.studies.sweep.text import by_seed


def section(results: Path) -> Section | None:
    """Control, front, choices and their regret, from the stored sweeps; None where there are none."""
    found = settings_of(sweeps_of(SweepRow.files().load_all(results)))
    if not found:
        return None
    tables: list[Table] = []
    pictures: list[Picture] = []
    for number, setting in enumerate(found):
        tables += [_control_table(setting), _choice_table(setting), _shift_table(setting)]
        slug = "preference" if number == 0 else f"preference-{number + 1}"
        with styled():
            made = maps(setting, slug), front(setting, slug), choices(setting, slug)
            pictures += [picture for picture in made if picture is not None]
    lead = " ".join(_lead(setting, several=len(found) > 1) for setting in found)
    return Section("preference", "Preference sweep", lead, tuple(tables), tuple(pictures))


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
        span, followed = _mean(setting, method, "few span"), _mean(setting, method, "control")
        if span is not None:
            said = "" if followed is None else f", rank correlation {followed:.2f}"
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
        best, rival = max(networks, key=lambda m: networks[m]), max(controls, key=lambda m: controls[m])
        verdict = "more" if networks[best] > controls[rival] else "less"
        text += (
            f"The best hypernetwork, {best}, spans {verdict} than the best control without one, {rival}: hypervolume "
            f"{networks[best]:.3f} against {controls[rival]:.3f}. "
        )
    regrets = []
    for choice, said in (("em", "EM's estimate"), ("stability", "view stability"), ("centre", "equal shares")):
        values = {method: found[0] for method in kinds if (found := _regret(setting, method, choice)) is not None}
        if values:
            least, most = min(values, key=lambda m: values[m]), max(values, key=lambda m: values[m])
            upto = f" ({least}) to {100 * values[most]:.1f} ({most})" if len(values) > 1 else ""
            regrets.append(f"{said} {100 * values[least]:.1f}{upto}")
    if regrets:
        text += f"Below the best preference of each shift, in points of top-1: {_listed(regrets)}."
    return text.strip()


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
        for choice in usable(group):
            top1 = _mean_and_sd(by_seed(group, lambda sweep, c=choice: sweep.chosen[c].top1))  # type: ignore[misc]
            regret = _regret(setting, method, choice)
            assert regret is not None  # `usable` says that it was chosen everywhere
            rows.append((method, choice, knew(vars(group[0].chosen[choice]) | {"source_n": 0}), *top1, *regret))
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
        for choice in usable(setting.common(method)):
            cells = [mean_of([s.chosen[choice].top1 for s in setting.of(method, shift)]) for shift in setting.shifts]
            rows.append((method, choice, *cells))
    caption = f"Top-1 of each way of choosing, shift by shift. {setting.title}; means over train seeds."
    return Table(caption, ("method", "chosen by", *map(short, setting.shifts)), tuple(rows))


def _shifts(setting: Setting) -> str:
    count = len(setting.shifts)
    return f"{count} shifts" if count > 1 else setting.shifts[0]


def _points(setting: Setting) -> str:
    counts = sorted({len(sweep.lattice) for sweep in setting.sweeps})
    return f"{' or '.join(map(str, counts))} preferences"
