"""Estimated test priors: how far each adapter's estimate is from the truth, over many test sets of a shift."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean

from harness.board.entries import newest
from harness.measures.statistics import mean_sd
from harness.show import plot
from harness.show.ink import WIDTH, styled, tone
from harness.show.section import Cell, Picture, Section, Table
from harness.show.settings import Setting, leads, settings_of
from harness.show.shifts import shift_order, short
from harness.show.text import numbered
from harness.studies.estimate.rows import EstimateRow

NONE = "mean"
"""The adapter that estimates nothing: the prior that the mean of expert logits answers for."""


class EstimateSetting(Setting[EstimateRow]):
    """The estimates of one dataset, training set and recipe, on sets of one size."""

    @cached_property
    def shifts(self) -> list[str]:
        """All shifts, from forward to backward, then the others."""
        return sorted({row.shift for row in self.rows}, key=shift_order)

    @cached_property
    def adapters(self) -> list[str]:
        """Adapters without labelled images, then those with them; smallest mean error first."""
        labelled = {row.adapter: row.source_n > 0 for row in self.rows}
        return sorted(labelled, key=lambda name: (labelled[name], self.error(name)))

    def error(self, adapter: str) -> float:
        """Return the mean total variation of an adapter over all rows."""
        return fmean(self.errors(adapter=adapter))

    def errors(self, **wanted: str) -> list[float]:
        """Return the total variations of all test sets and seeds of the rows with these fields."""
        return [tv for row in self.of(**wanted) for tv in row.tv]

    def of(self, **wanted: str) -> list[EstimateRow]:
        """Return the rows with these fields."""
        return [row for row in self.rows if all(getattr(row, name) == value for name, value in wanted.items())]

    @property
    def title(self) -> str:
        """The setting in words, with the test sets."""
        first = self.rows[0]
        return f"{super().title}; {first.trials} test sets of {first.n:,} images a shift, drawn with replacement"


def section(results: Path) -> Section | None:
    """Show errors of estimated test priors from the stored estimates; None if there are none."""
    # One row an adapter, whichever lists of adapters it was part of.
    rows = {
        (row.checkpoint_sha256, row.n, row.trials, row.adapter, row.indices_sha256, row.shift): row
        for row in EstimateRow.files().load_all(results)
    }
    found = settings_of(rows.values(), lambda group: EstimateSetting(_newest(group)), "n", "trials")
    if not found:
        return None
    pictures = []
    for setting, name in zip(found, numbered(["estimates"] * len(found)), strict=True):
        with styled():
            pictures.append(_dots(setting, name))
    lead = leads(found, _lead)
    return Section("estimates", "Estimated test priors", lead, tuple(map(_table, found)), tuple(pictures))


def _newest(rows: Iterable[EstimateRow]) -> tuple[EstimateRow, ...]:
    """Return the rows of the newest version of each program part."""
    groups: dict[tuple[str, ...], list[EstimateRow]] = {}
    for row in rows:
        groups.setdefault((row.method, row.adapter, row.shift), []).append(row)
    return tuple(row for group in groups.values() for row in newest(group))


def _lead(setting: EstimateSetting) -> str:
    labelled = {row.adapter for row in setting.rows if row.source_n}
    estimates = [name for name in setting.adapters if name != NONE]
    parts = []
    for words, among in (
        ("without labelled source images", [name for name in estimates if name not in labelled]),
        ("with them", [name for name in estimates if name in labelled]),
    ):
        if among:
            parts.append(f"{words} {among[0]} is nearest to the truth (total variation {setting.error(among[0]):.3f})")
    if NONE in setting.adapters:
        parts.append(f"no estimate at all is {setting.error(NONE):.3f} away")
        worse = [name for name in estimates if setting.error(name) >= setting.error(NONE)]
        if worse:
            parts.append(f"not nearer than that: {', '.join(worse)}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _table(setting: EstimateSetting) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for method in setting.methods:
        for adapter in setting.adapters:
            own = setting.of(method=method, adapter=adapter)
            if not own:
                continue
            cells: list[Cell] = [method, adapter]
            for shift in setting.shifts:
                there = [row for row in own if row.shift == shift]
                errors = mean_sd([tv for row in there for tv in row.tv]) if there else None
                cells += [None, None, None] if errors is None else [errors.mean, errors.sd, _js(there)]
            rows.append((*cells, own[0].source_n))
    columns = ["method", "adapter"]
    columns += [f"{short(shift)} {word}" for shift in setting.shifts for word in ("TV", "sd", "JS")]
    caption = (
        f"Distance of estimated and true class shares. {setting.title}. TV: total variation, mean and standard "
        "deviation over sets; JS: Jensen-Shannon divergence in nats; mean: no estimate, the prior that the mean of "
        "expert logits answers for; labels: labelled source images."
    )
    return Table(caption, (*columns, "labels"), tuple(rows))


def _js(rows: Sequence[EstimateRow]) -> float:
    return fmean(js for row in rows for js in row.js)


def _dots(setting: EstimateSetting, name: str) -> Picture:
    """Draw the mean error of each adapter: a panel for each shift, a mark for each method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.6 + 0.19 * len(setting.adapters)), layout="constrained")
    grid = figure.subplots(1, len(setting.shifts), sharey=True, squeeze=False)
    places = {adapter: -place for place, adapter in enumerate(setting.adapters)}
    for axes, shift in zip(grid.flat, setting.shifts, strict=True):
        for number, method in enumerate(setting.methods):
            found = {name: setting.errors(method=method, adapter=name, shift=shift) for name in setting.adapters}
            known = [name for name, errors in found.items() if errors]
            raised = 0.14 * ((len(setting.methods) - 1) / 2 - number)
            axes.errorbar(
                [fmean(found[name]) for name in known],
                [places[name] + raised for name in known],
                xerr=[mean_sd(found[name]).sd or 0.0 for name in known],
                label=method,
                elinewidth=0.7,
                **(tone(number) | {"linestyle": "none"}),
            )
        axes.set_title(shift)
        axes.set_xlim(left=0)
    grid.flat[0].set_yticks(list(places.values()), list(places))
    figure.supxlabel("total variation between estimated and true class shares", fontsize=8)
    plot.key(figure, grid.flat)
    return Picture(
        name,
        figure,
        f"Errors of estimated test priors, mean and standard deviation over sets; adapters without labelled source "
        f"images stand above those with them. {setting.title}.",
        f"Total variation of each adapter's estimate on {', '.join(setting.shifts)} for "
        f"{', '.join(setting.methods)}; figures are in the table.",
    )
