"""Pictures of the section "Why"."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.show.ink import WIDTH, styled, tone
from harness.show.plot import key
from harness.show.section import Picture
from harness.show.shifts import outermost, short
from harness.studies.why.tables import Reasons, half, in_order, ordered_methods, ordered_shifts
from methods.papers import METHODS

SHOTS = ("many", "medium", "few")


def pictures(reasons: Reasons, suffix: str = "") -> list[Picture]:
    """Draw every picture that the stored findings allow; `suffix` tells file names of several settings apart."""
    parts = (
        (reasons.findings, _bias_variance),
        (reasons.several, _more_experts),
        (reasons.trusts, _stability),
        (reasons.points, _bound),
    )
    with styled():
        return [draw(reasons, suffix) for stored, draw in parts if stored]


def _bias_variance(reasons: Reasons, suffix: str) -> Picture:
    titles = {"bias": "bias", "variance": "variance", "hardest_negative": "hardest negative"}
    methods = reasons.methods
    figure = Figure(figsize=(WIDTH, 0.4 + 0.3 * len(methods)), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    for axis, (measure, title) in zip(axes, titles.items(), strict=True):
        for number, group in enumerate(SHOTS):
            for place, method in enumerate(methods):
                one = reasons.of.get((method, "mean", group, measure))
                if one is None:
                    continue
                axis.errorbar(
                    one.value,
                    place + (number - 1) * 0.2,
                    xerr=half(one) or 0,
                    elinewidth=1.0,
                    label=f"{group} shot",
                    **(tone(number) | {"linestyle": "none"}),
                )
        axis.set_title(title)
        axis.set_yticks(range(len(methods)), methods)
        axis.set_xlim(left=0)
    axes[0].set_ylim(len(methods) - 0.5, -0.5)
    key(figure, axes)
    models = sorted({one.models for one in reasons.findings})
    counts = f"{models[0]}" if len(models) == 1 else f"{models[0]} to {models[-1]}"
    return Picture(
        f"why-bias-variance{suffix}",
        figure,
        f"Bias, variance and confidence of the hardest negative by shot group ({reasons.words}; {counts} models a "
        "method; bars: jackknife over training draws, 95 %).",
        "Three panels of dots, a line a method, a colour a shot group: bias, variance, hardest-negative probability.",
    )


def _more_experts(reasons: Reasons, suffix: str) -> Picture:
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    for axis, group in zip(axes, SHOTS, strict=True):
        for method in reasons.several:
            if (method, "mean", group, "variance") not in reasons.of:
                continue
            experts = reasons.of[method, "mean", group, "variance"].experts
            line = [float(np.mean([one.value for one in reasons.alone(method, group, "variance")]))]
            line += [reasons.of[method, f"first-{k}", group, "variance"].value for k in range(2, experts)]
            line += [reasons.of[method, "mean", group, "variance"].value]
            axis.plot(range(1, experts + 1), line, **_style(method), label=method)
            axis.set_xticks(range(1, experts + 1))
        axis.set_title(f"{group} shot")
    # The panels share the axis: its lower end is set when all lines are drawn.
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("variance")
    figure.supxlabel("experts that answer", fontsize=8)
    key(figure, axes)
    return Picture(
        f"why-more-experts{suffix}",
        figure,
        "Variance against the number of experts that answer: one (mean over experts), the first two, all, of the same "
        f"networks ({reasons.words}).{_differing(reasons)}",
        "Three panels, one a shot group: a line for each multi-expert method, variance over the number of experts.",
    )


def _stability(reasons: Reasons, suffix: str) -> Picture:
    methods = ordered_methods(trust.method for trust in reasons.trusts)
    there = {trust.shift for trust in reasons.trusts}
    shifts = in_order(there) or ordered_shifts(there)
    known = {(trust.method, trust.shift): trust for trust in reasons.trusts}
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    grid = figure.subplots(2, len(methods), sharex=True, sharey="row", squeeze=False)
    for column, method in enumerate(methods):
        mine = [known.get((method, shift)) for shift in shifts]
        experts = max((len(trust.weights) for trust in mine if trust is not None), default=0)
        for place in range(experts):
            weights = [np.nan if trust is None else trust.weights[place] for trust in mine]
            stable = [np.nan if trust is None else trust.stability["all"][place] for trust in mine]
            for axis, values in zip(grid[:, column], (weights, stable), strict=True):
                axis.plot(values, label=f"expert {place + 1}", **tone(place))
        grid[0, column].set_title(method)
        grid[1, column].set_xticks(range(len(shifts)), list(map(short, shifts)), rotation=90, fontsize=6.3)
    grid[0, 0].set_ylim(bottom=0)
    grid[0, 0].set_ylabel("learned weight")
    grid[1, 0].set_ylabel("view stability")
    key(figure, grid.flat)
    return Picture(
        f"why-stability{suffix}",
        figure,
        "SADE's learned weights (above) and each expert's stability between two views (below) on each shift, means "
        f"over train seeds ({reasons.words}).",
        "Two rows of panels, a column a method: weight and view stability of each expert over the test shifts.",
    )


def _bound(reasons: Reasons, suffix: str) -> Picture:
    shifts = outermost(ordered_shifts(point.shift for point in reasons.points))
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, len(shifts), sharex=True, sharey=True, squeeze=False)[0]
    for axis, shift in zip(axes, shifts, strict=True):
        for point in reasons.points:
            if point.shift != shift:
                continue
            values = [100 * value for value in point.top1.values()]
            mean = 100 * point.mean
            axis.errorbar(
                point.bound,
                mean,
                yerr=[[mean - min(values)], [max(values) - mean]],
                markersize=5,
                elinewidth=1.0,
                label=point.method,
                **(_style(point.method) | {"linestyle": "none"}),
            )
        axis.set_title(shift)
    axes[0].set_ylabel("top-1 %, mean of experts")
    figure.supxlabel("distances of the bound", fontsize=8)
    key(figure, axes)
    return Picture(
        f"why-bound{suffix}",
        figure,
        "Accuracy against the risk bound's distances, mean TV(expert, test) + (N-1)/N ETVD; bars: lowest and highest "
        f"train seed ({reasons.words}). If the bound ranked methods, dots would fall from left to right.",
        "Three panels of dots, one a test shift: accuracy of each method over the distance terms of the bound.",
    )


def _differing(reasons: Reasons) -> str:
    """Name the methods whose experts answer for different priors, if rows tell: there the order of experts matters."""
    there = {point.method for point in reasons.all_points if point.etvd > 0 and point.method in reasons.several}
    return f" Experts of {', '.join(ordered_methods(there))} answer for different priors." if there else ""


def _style(method: str) -> dict[str, Any]:
    """Return the style of a method, the same in every picture."""
    known = list(METHODS)
    name = method.partition(":")[0]
    return tone(known.index(name) if name in known else len(known))
