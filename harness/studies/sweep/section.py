"""Preference sweeps: what control a hypernetwork gives over head and tail, and what choosing without labels costs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.measures.statistics import mean_sd
from harness.show.access import knew
from harness.show.cells import listed
from harness.show.ink import styled
from harness.show.section import Cell, Picture, Section, Table
from harness.show.settings import leads, settings_of
from harness.show.shifts import short
from harness.show.text import mean_of, numbered
from harness.studies.sweep.figures import choices, front, maps
from harness.studies.sweep.rows import Sweep, SweepRow
from harness.studies.sweep.settings import SweepSetting, by_seed, reached, top1, usable


def section(results: Path) -> Section | None:
    """Show control, front, choices and their regret from the stored sweeps; None if there are none."""
    rows = SweepRow.files().load_all(results)
    found = [setting for setting in settings_of(rows, SweepSetting) if setting.shifts]
    if not found:
        return None
    tables: list[Table] = []
    pictures: list[Picture] = []
    for setting, slug in zip(found, numbered(["preference"] * len(found)), strict=True):
        tables += [_control_table(setting), _choice_table(setting), _shift_table(setting)]
        with styled():
            made = maps(setting, slug), front(setting, slug), choices(setting, slug)
            pictures += [picture for picture in made if picture is not None]
    return Section("preference", "Preference sweep", leads(found, _lead), tuple(tables), tuple(pictures))


def _mean(setting: SweepSetting, method: str, name: str) -> float | None:
    """Return control or volume, mean over checkpoints and shared shifts."""
    return mean_of(by_seed(setting.common(method), lambda sweep: getattr(sweep, name)))


def _lead(setting: SweepSetting) -> str:
    """Say what the sweep shows."""
    kinds = setting.kinds
    parts = []
    for method, kind in kinds.items():
        (low, high), followed = reached(setting.common(method), "few"), _mean(setting, method, "control")
        if low is not None and high is not None:
            said = "" if followed is None else f", rank correlation {followed:.2f}"
            parts.append(f"{100 * (high - low):.1f} points in {method} ({kind}{said})")
    text = ""
    if parts:
        text += f"From one end of the simplex to the other, few-shot accuracy moves by {listed(parts, len(parts))}. "
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
        text += f"Below the best preference of each shift, in points of top-1: {listed(regrets, len(regrets))}."
    return text.strip()


def _regret(setting: SweepSetting, method: str, choice: str) -> tuple[float, float | None, float] | None:
    """Return the mean regret over seeds and shared shifts, its deviation over seeds, and that of the worst shift."""
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


def _control_table(setting: SweepSetting) -> Table:
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
    for method, kind in setting.kinds.items():
        own = setting.common(method)
        cells: list[Cell] = [method, kind, len(by_seed(own, lambda sweep: 0.0))]
        cells += _mean_and_sd(by_seed(own, lambda sweep: sweep.control))
        for name in ("many", "few"):
            cells += reached(own, name)
        cells += _mean_and_sd(by_seed(own, lambda sweep: sweep.volume))
        rows.append(tuple(cells))
    caption = (
        f"Control over head and tail. {setting.title}; means over {_shifts(setting)}, {_points(setting)}. control: "
        "Spearman correlation of (alpha backward - alpha forward) with (few - many); from, to: lowest and highest "
        "accuracy on the lattice; volume: hypervolume of the non-dominated points in (many, medium, few); sd over "
        "train seeds."
    )
    return Table(caption, columns, tuple(rows))


def _mean_and_sd(values: Sequence[float | None]) -> list[Cell]:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return [None, None]
    over = mean_sd(known)
    return [over.mean, over.sd]


def _choice_table(setting: SweepSetting) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for method in setting.kinds:
        group = setting.common(method)
        for choice in usable(group):
            accuracy = _mean_and_sd(_top1_by_seed(group, choice))
            regret = _regret(setting, method, choice)
            assert regret is not None  # `usable` says that it was chosen everywhere
            rows.append((method, choice, knew(vars(group[0].chosen[choice]) | {"source_n": 0}), *accuracy, *regret))
    caption = (
        f"Choosing a preference. {setting.title}; means over {_shifts(setting)}. regret: top-1 below the best "
        "preference of the same shift, which is chosen with the test labels; worst: mean regret on the worst shift. "
        "centre: equal shares; corner: the expert made for the shift; stability: two views agree best; em: label prior "
        "nearest to EM's estimate of the test prior."
    )
    return Table(caption, ("method", "chosen by", "knew", "top-1", "sd", "regret", "sd of it", "worst"), tuple(rows))


def _top1_by_seed(group: Sequence[Sweep], choice: str) -> list[float | None]:
    return by_seed(group, lambda sweep: sweep.chosen[choice].top1)


def _shift_table(setting: SweepSetting) -> Table:
    rows = tuple(
        (method, choice, *(top1(group, choice, shift) for shift in setting.shifts))
        for method in setting.kinds
        for group in [setting.common(method)]
        for choice in usable(group)
    )
    caption = f"Top-1 of each way of choosing, shift by shift. {setting.title}; means over train seeds."
    return Table(caption, ("method", "chosen by", *map(short, setting.shifts)), rows)


def _shifts(setting: SweepSetting) -> str:
    count = len(setting.shifts)
    return f"{count} shifts" if count > 1 else setting.shifts[0]


def _points(setting: SweepSetting) -> str:
    counts = sorted({len(sweep.lattice) for sweep in setting.sweeps})
    return f"{' or '.join(map(str, counts))} preferences"
