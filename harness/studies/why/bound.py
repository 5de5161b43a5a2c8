"""Does the risk bound of the hypernetwork paper rank methods? Its distances beside accuracy, from stored rows.

R_test(f) <= (1/N) sum_m R_m(f_m) + 2M ((1/N) sum_m TV(E_m, E_test) + (N-1)/N * ETVD) (Zhao et al., NeurIPS 2024), for
the mean of N experts and a loss of at most M. Rows hold both distances; the experts' own risks R_m are not measured,
so what is tested is whether the distances alone order methods, as the paper's argument for diverse experts needs.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.records.rows import Row
from harness.studies.why.stability import Setting, setting

TERMS = ("bound", "tv_experts_test_mean", "etvd")
"""The two distances together as the bound weights them, and each alone."""
LEAST = 3
"""Fewest points of a rank correlation."""


@dataclass(frozen=True)
class Point:
    """One method's mean of experts on one shift: distances, and top-1 accuracy by (training draw, train seed).

    exact: whether the experts' priors, and so the distances, are exact (not where margins or mixup blur them).
    networks: hashes of the checkpoints.
    """

    setting: Setting
    method: str
    shift: str
    experts: int
    tv_experts_test_mean: float
    etvd: float
    exact: bool
    top1: Mapping[tuple[int, int], float]
    networks: frozenset[str]

    @property
    def bound(self) -> float:
        """Both distances as they stand in the bound: mean TV + (N-1)/N * ETVD; times 2M they are added to the risk."""
        return self.tv_experts_test_mean + (self.experts - 1) / self.experts * self.etvd

    @property
    def mean(self) -> float:
        """Top-1 accuracy, mean over models."""
        return float(np.mean(list(self.top1.values())))


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of a distance with accuracy: mean, lowest and highest over models.

    -1: the distance orders accuracy without an error; 0: it says nothing. None where distance or accuracy is constant
    or there are fewer than three points. models: training draws x train seeds that have all the points; only they
    count.
    """

    value: float | None
    low: float | None
    high: float | None
    points: int
    models: int


def points(rows: Iterable[Row]) -> list[Point]:
    """Return one point for each setting, method and shift with rows of the adapter `mean`."""
    found: dict[tuple[Setting, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.adapter == "mean":
            found[setting(row), row.method, row.shift].append(row)
    return [
        Point(
            setting=where,
            method=method,
            shift=shift,
            experts=round(group[0].mean_experts),
            tv_experts_test_mean=float(np.mean([row.tv_experts_test_mean for row in group])),
            etvd=group[0].etvd,
            exact=group[0].target_prior_kind == "exact",
            top1={(row.train_subset_seed or 0, row.train_seed or 0): row.top1 for row in group},
            networks=frozenset(row.checkpoint_sha256 for row in group),
        )
        for (where, method, shift), group in found.items()
    ]


def distinct(given: Sequence[Point]) -> tuple[list[Point], dict[str, str]]:
    """Return the points without methods that made the very networks of an earlier one.

    The second value is those methods: name -> the earlier.
    They would count twice in a correlation across methods.
    """
    first: dict[tuple[Hashable, ...], str] = {}
    twins: dict[str, str] = {}
    kept = []
    for point in given:
        earlier = first.setdefault((point.setting, point.shift, point.networks), point.method)
        if earlier == point.method:
            kept.append(point)
        else:
            twins[point.method] = earlier
    return kept, twins


def correlate(given: Sequence[Point], term: str) -> Correlation:
    """Return the rank correlation of `term` (one of TERMS) with accuracy over the points."""
    shared = set.intersection(*(set(point.top1) for point in given)) if given else set()
    distances = [getattr(point, term) for point in given]
    by_model = [spearman(distances, [point.top1[model] for point in given]) for model in sorted(shared)]
    known = [value for value in by_model if value is not None]
    return Correlation(
        value=float(np.mean(known)) if known else None,
        low=min(known, default=None),
        high=max(known, default=None),
        points=len(given),
        models=len(shared),
    )


def choice(given: Sequence[Point], term: str) -> tuple[list[str], float]:
    """Return which methods of one shift the least distance names, and their mean accuracy's gap to the best method.

    Raises ValueError for no points.
    """
    least = min(getattr(point, term) for point in given)
    named = [point for point in given if np.isclose(getattr(point, term), least, rtol=0, atol=1e-9)]
    regret = max(point.mean for point in given) - float(np.mean([point.mean for point in named]))
    return [point.method for point in named], regret


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Return Spearman's rank correlation, ties with their mean rank.

    None for fewer than LEAST points or constant values.
    Values that differ by less than 1e-9 are ties: equal distances come out of different sums.
    """
    from scipy.stats import spearmanr

    left, right = (np.round(np.asarray(values, dtype=np.float64), 9) for values in (first, second))
    if len(left) < LEAST or np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(spearmanr(left, right).statistic)
