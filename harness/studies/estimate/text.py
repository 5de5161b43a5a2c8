"""The table of the estimation study for a terminal."""

from collections.abc import Sequence
from statistics import fmean

from harness.measures.statistics import mean_sd
from harness.show.settings import Setting
from harness.show.shifts import short
from harness.show.text import aligned
from harness.studies.estimate.rows import EstimateRow

LEGEND = """\
TV: total variation between estimated and true class shares, mean ± standard deviation over sets; JS: Jensen-Shannon
divergence, nats; AE, RAE: mean absolute and relative error a class (RAE smoothed by 1/(2n)); NMD: match distance from
head to tail over its largest; mean = no estimate: the prior that the mean of expert logits answers for; labels:
labelled images."""
PUBLISHED = """\
published JS (Alexandari et al. 2020: dirichlet-0.1, 100 sets of 10,000 images, a network of balanced CIFAR-100; in
which unit is not known): EM .232, EM + temperature .113, EM + BCTS .117, BBSE soft .237, RLLS soft .193."""
WIDEST = 3
"""Shifts beside one another."""


def render(rows: Sequence[EstimateRow], shifts: Sequence[str]) -> str:
    """Return each adapter's errors on each shift by method, over test sets and train seeds."""
    if not rows:
        return "no estimates"
    first = rows[0]
    title = f"{Setting(tuple(rows)).title}; {first.trials} test sets of {first.n:,} images a shift, with replacement"
    blocks = [title]
    for start in range(0, len(shifts), WIDEST):
        part = shifts[start : start + WIDEST]
        header = ["adapter", *(cell for shift in part for cell in (f"{short(shift)} TV", "JS")), "labels"]
        lines: list[str | list[str]] = []
        for method in dict.fromkeys(row.method for row in rows):
            lines.append(f"-- {method}")
            own = [row for row in rows if row.method == method]
            for adapter in dict.fromkeys(row.adapter for row in own):
                found = {shift: [row for row in own if (row.adapter, row.shift) == (adapter, shift)] for shift in part}
                cells = [cell for shift in part for cell in _cells(found[shift])]
                lines.append([adapter, *cells, f"{found[part[0]][0].source_n or '-'}"])
        blocks += ["", *aligned(header, lines)]
    if all(row.rae is not None for row in rows):
        for start in range(0, len(shifts), WIDEST):
            blocks += ["", *_others(rows, shifts[start : start + WIDEST])]
    comparable = first.dataset == "cifar100" and "dirichlet-0.1-s0" in shifts
    return "\n".join([*blocks, "", LEGEND, *([PUBLISHED] if comparable else [])])


def _others(rows: Sequence[EstimateRow], shifts: Sequence[str]) -> list[str]:
    """Return the lines of a table of the other errors on some shifts."""
    header = ["adapter", *(cell for shift in shifts for cell in (f"{short(shift)} AE", "RAE", "NMD"))]
    lines: list[str | list[str]] = []
    for method in dict.fromkeys(row.method for row in rows):
        lines.append(f"-- {method}")
        own = [row for row in rows if row.method == method]
        for adapter in dict.fromkeys(row.adapter for row in own):
            found = [[row for row in own if (row.adapter, row.shift) == (adapter, shift)] for shift in shifts]
            lines.append([adapter, *(f"{value:.4f}" for some in found for value in _other(some))])
    return aligned(header, lines)


def _other(rows: Sequence[EstimateRow]) -> tuple[float, float, float]:
    """Return the means of AE, RAE and NMD."""
    return (
        fmean(2 * error / (row.classes or 1) for row in rows for error in row.tv),
        fmean(error for row in rows for error in row.rae or ()),
        fmean(error for row in rows for error in row.nmd or ()),
    )


def _cells(rows: Sequence[EstimateRow]) -> tuple[str, str]:
    errors = [error for row in rows for error in row.tv]
    return mean_sd(errors).text(1.0, 3), f"{fmean(error for row in rows for error in row.js):.3f}"
