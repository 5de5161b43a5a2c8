"""Tables of the section "Why": what is stored of one setting, and each analysis as a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from harness.records import rows
from harness.show.section import Cell, Table
from harness.show.settings import imbalance_words, named_recipe
from harness.show.shifts import shift_order, short
from harness.studies.why import findings
from harness.studies.why.bound import TERMS, Correlation, Point, choice, correlate, distinct, points
from harness.studies.why.findings import Finding
from harness.studies.why.stability import Setting, Trust, trusts
from methods.papers import METHODS
from shifts.labels.shift import published_shifts

GROUPS = ("all", "many", "medium", "few")
TITLES = {
    "bias": "Bias: share of images whose main prediction, the mode over models, is wrong",
    "variance": "Variance: share of models that differ from the mode (draws share images of many-shot classes)",
    "hardest_negative": "Hardest negative: the highest softmax probability of a wrong class, mean",
}

LEARNED = (
    "SADE's learned weights w by shift, the accuracy gained over equal weights, and premise: share of models whose "
    "most stable expert is also the most accurate one on that shift"
)


@dataclass(frozen=True)
class Reasons:
    """All that is stored of one setting (dataset, train imbalance, recipe)."""

    setting: Setting
    all_findings: Sequence[Finding]
    trusts: Sequence[Trust]
    all_points: Sequence[Point]

    @cached_property
    def findings(self) -> list[Finding]:
        """Over the draws and seeds that all methods have; where there are no such, over each method's own."""
        shared = [one for one in self.all_findings if one.shared]
        return shared or list(self.all_findings)

    @property
    def short_of_models(self) -> list[str]:
        """Methods that have too few training draws to be compared."""
        return [m for m in ordered_methods(one.method for one in self.all_findings) if m not in self.methods]

    @cached_property
    def of(self) -> dict[tuple[str, str, str, str], Finding]:
        """Findings by method, predictor, group and measure."""
        return {(one.method, one.predictor, one.group, one.measure): one for one in self.findings}

    @cached_property
    def methods(self) -> list[str]:
        """Methods with findings, in the registry's order."""
        return ordered_methods(one.method for one in self.findings)

    @cached_property
    def several(self) -> list[str]:
        """Those of them with several experts."""
        return [method for method in self.methods if self.of[method, "mean", "all", "bias"].experts > 1]

    @cached_property
    def points(self) -> list[Point]:
        """Points without methods that made the networks of another."""
        return distinct(sorted(self.all_points, key=lambda point: _place(point.method)))[0]

    @cached_property
    def twins(self) -> dict[str, str]:
        """Methods that made the networks of another, and that other."""
        return distinct(sorted(self.all_points, key=lambda point: _place(point.method)))[1]

    @property
    def words(self) -> str:
        """The setting in words."""
        dataset, imbalance, recipe = self.setting
        return f"{dataset}, {imbalance_words(imbalance)}, {named_recipe(recipe)}"

    def alone(self, method: str, group: str, measure: str) -> list[Finding]:
        """Return the findings of each expert alone."""
        experts = self.of[method, "mean", group, measure].experts
        return [self.of[method, f"expert-{place + 1}", group, measure] for place in range(experts)]


def gather(results: Path) -> list[Reasons]:
    """Return all that a results folder holds by setting, the setting with the most first. Raises WorkFailed."""
    measured = rows.load_all(results)
    found, weighted, placed = findings.load(results), trusts(measured), points(measured)
    settings = dict.fromkeys(
        [*map(_setting, found), *(one.setting for one in weighted), *(one.setting for one in placed)]
    )
    made = [
        Reasons(
            setting,
            [one for one in found if _setting(one) == setting],
            [one for one in weighted if one.setting == setting],
            [one for one in placed if one.setting == setting],
        )
        for setting in settings
    ]
    return sorted(made, key=lambda one: (-len(one.all_findings) - len(one.all_points), str(one.setting)))


def tables(reasons: Reasons) -> list[Table]:
    """Return every table that the stored findings allow."""
    made = []
    if reasons.findings:
        made += [_by_group(reasons, measure) for measure in TITLES] + [_error(reasons)]
    if reasons.several:
        made.append(_more_experts(reasons))
    if reasons.trusts:
        made += [_stability(reasons), _weights(reasons), _weights_elsewhere(reasons)]
    if reasons.points:
        made += [_across_methods(reasons), _across_shifts(reasons)]
    return [table for table in made if table.rows]


def _by_group(reasons: Reasons, measure: str) -> Table:
    body: list[tuple[Cell, ...]] = []
    for method in reasons.methods:
        cells: list[Cell] = [method, reasons.of[method, "mean", "all", measure].models]
        for group in GROUPS:
            one = reasons.of.get((method, "mean", group, measure))
            cells += [None, None] if one is None else [one.value, half(one)]
        body.append(tuple(cells))
    heads = [name for group in GROUPS for name in (group, f"± {group}")]
    caption = (
        f"{TITLES[measure]}, by group of the true class; uniform test set, mean of experts ({reasons.words}). "
        "±: jackknife over training draws, 95 %"
    )
    return Table(caption, ("method", "models", *heads), tuple(body))


def _error(reasons: Reasons) -> Table:
    body: list[tuple[Cell, ...]] = []
    for method in reasons.methods:
        parts = [reasons.of[method, "mean", "all", part] for part in ("error", "bias", "costly", "lucky", "variance")]
        body.append((method, *(part.value for part in parts), parts[0].tied))
    caption = (
        "Error taken apart, all classes: error = bias + costly - lucky. costly: variance where the main prediction is "
        "right; lucky: models that are right where it is wrong; tied: images whose mode is tied (counted in shares)"
    )
    return Table(caption, ("method", "error", "bias", "costly", "lucky", "variance", "tied"), tuple(body))


def _more_experts(reasons: Reasons) -> Table:
    body: list[tuple[Cell, ...]] = []
    for method in reasons.several:
        for group in GROUPS:
            if (method, "mean", group, "bias") not in reasons.of:
                continue
            cells: list[Cell] = [method, group]
            for measure in ("variance", "bias"):
                joint, alone = [reasons.of[method, "mean", group, measure]], reasons.alone(method, group, measure)
                change, interval = findings.difference(joint, alone)
                spread = None if interval is None else (interval[1] - interval[0]) / 2
                cells += [float(np.mean([one.value for one in alone])), joint[0].value, change, spread]
            body.append(tuple(cells))
    heads = ("one", "all", "change", "±")
    caption = (
        "More experts: variance and bias of one expert alone (mean over experts) and of the mean of all experts of the "
        "same networks, with the change's paired jackknife interval"
    )
    return Table(
        caption, ("method", "group", *(f"{what} {head}" for what in ("var", "bias") for head in heads)), tuple(body)
    )


def _stability(reasons: Reasons) -> Table:
    body = []
    for trust in reasons.trusts:
        if trust.shift != "uniform":
            continue
        for place in range(len(trust.weights)):
            cells: list[Cell] = [trust.method, place + 1]
            for group in GROUPS[1:]:
                known = trust.stability.get(group)
                cells.append(None if known is None else float(known[place]))
            for group in GROUPS[1:]:
                error = reasons.of.get((trust.method, f"expert-{place + 1}", group, "error"))
                cells.append(None if error is None else 1 - error.value)
            body.append(tuple(cells))
    body.sort(key=lambda cells: (_place(str(cells[0])), cells[1]))
    heads = [f"{what} {group}" for what in ("stable", "right") for group in ("many", "med", "few")]
    caption = (
        "Each expert on the uniform test set, by shot group: stable = mean cosine between its answers to two views; "
        "right = its accuracy alone, where answers of several models are stored"
    )
    return Table(caption, ("method", "expert", *heads), tuple(body))


def _weights(reasons: Reasons) -> Table:
    body: list[tuple[Cell, ...]] = []
    shifts = in_order(trust.shift for trust in reasons.trusts)
    known = {(trust.method, trust.shift): trust for trust in reasons.trusts}
    for method in ordered_methods(trust.method for trust in reasons.trusts):
        mine = [known.get((method, shift)) for shift in shifts]
        for place in range(max((len(trust.weights) for trust in mine if trust is not None), default=0)):
            cells = [None if trust is None else float(trust.weights[place]) for trust in mine]
            body.append((method, f"w{place + 1}", *cells))
        body.append((method, "gain", *(None if trust is None else trust.gain for trust in mine)))
        body.append((method, "premise", *(None if trust is None else trust.stable_best for trust in mine)))
    return Table(LEARNED, ("method", "what", *map(short, shifts)), tuple(body) if shifts else ())


def _weights_elsewhere(reasons: Reasons) -> Table:
    """Return a line for each shift that is not one of the published ones."""
    body: list[tuple[Cell, ...]] = []
    published = in_order(trust.shift for trust in reasons.trusts)
    known = {(trust.method, trust.shift): trust for trust in reasons.trusts if trust.shift not in published}
    most = max((len(trust.weights) for trust in known.values()), default=0)
    for method in ordered_methods(name for name, _ in known):
        for shift in ordered_shifts(shift for name, shift in known if name == method):
            trust = known[method, shift]
            weights = [float(weight) for weight in trust.weights] + [None] * (most - len(trust.weights))
            body.append((method, shift, *weights, trust.gain, trust.stable_best))
    heads = [f"w{place + 1}" for place in range(most)]
    return Table(f"On further shifts: {LEARNED}", ("method", "shift", *heads, "gain", "premise"), tuple(body))


def _across_methods(reasons: Reasons) -> Table:
    body = []
    for shift in ordered_shifts(point.shift for point in reasons.points):
        here = [point for point in reasons.points if point.shift == shift]
        whole = correlate(here, "bound")
        named, regret = choice(here, "bound")
        best = max(here, key=lambda point: point.mean).method
        parts = [correlate(here, term).value for term in TERMS[1:]]
        least = named[0] + (f" +{len(named) - 1}" if len(named) > 1 else "")
        body.append((short(shift), whole.points, *_cells(whole), *parts, least, best, regret))
    caption = (
        f"The risk bound's distances against accuracy across methods, Spearman ({reasons.words}; mean of experts; low "
        "and high over models). -1: the least distance is the best method. least: whom the bound names "
        "(+ how many with the same distance); regret: their mean accuracy's gap to the best method"
    )
    columns = ("shift", "methods", "rho", "low", "high", "rho TV", "rho ETVD", "least", "best", "regret")
    return Table(caption, columns, tuple(body))


def _across_shifts(reasons: Reasons) -> Table:
    body = []
    for method in ordered_methods(point.method for point in reasons.points):
        mine = [point for point in reasons.points if point.method == method]
        whole = correlate(mine, "bound")
        distances = [point.bound for point in mine]
        vacuous = float(np.mean([2 * distance >= 1 for distance in distances]))
        ends = mine[0].etvd, min(distances), max(distances)
        body.append((method, whole.points, *_cells(whole), *ends, vacuous, "exact" if mine[0].exact else "approximate"))
    caption = (
        "The same across shifts for each method. least and most: its distances over the shifts; vacuous: share of "
        "shifts on which 2M times the distances alone (M = 1, 0-1 loss) is at least 1"
    )
    columns = ("method", "shifts", "rho", "low", "high", "ETVD", "least", "most", "vacuous", "priors")
    return Table(caption, columns, tuple(body))


def _cells(one: Correlation) -> tuple[float | None, float | None, float | None]:
    return one.value, one.low, one.high


def half(one: Finding) -> float | None:
    """Return half the width of a finding's interval."""
    return None if one.low is None or one.high is None else (one.high - one.low) / 2


def ordered_methods(names: Iterable[str]) -> list[str]:
    """Return distinct methods, in the registry's order."""
    return sorted(set(names), key=_place)


def in_order(shifts: Iterable[str]) -> list[str]:
    """Return those of the shifts that belong to the published ones, in their order."""
    there = set(shifts)
    return [str(shift) for shift in published_shifts() if str(shift) in there]


def ordered_shifts(shifts: Iterable[str]) -> list[str]:
    """Return distinct shifts, from forward to backward, then the others."""
    return sorted(set(shifts), key=shift_order)


def _place(method: str) -> tuple[int, str]:
    known = list(METHODS)
    name = method.partition(":")[0]
    return (known.index(name) if name in known else len(known), method)


def _setting(one: Finding) -> Setting:
    return one.dataset, one.train_imbalance, one.recipe
