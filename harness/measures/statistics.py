"""Intervals and tests between rows: Wilson, exact McNemar, Holm, mean and standard deviation over seeds."""

from collections.abc import Sequence
from functools import reduce
from math import isfinite, sqrt
from operator import add
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.special import bdtr, ndtri


def wilson(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval (low, high) of a proportion, within [0, 1]; without continuity correction.

    correct: successes among n. level: two-sided coverage. Source: Wilson, JASA 1927.
    Raises ValueError unless 0 <= correct <= n, n >= 1 and 0 < level < 1.
    """
    if n < 1 or not 0 <= correct <= n or not 0 < level < 1:
        raise ValueError(f"no Wilson interval for {correct} of {n} at level {level}")
    z = float(ndtri(0.5 + level / 2))
    share = correct / n
    shrink = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    half = z / shrink * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # The bounds at 0 and n are exact; rounding would leave them an ulp off.
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == n else min(1.0, centre + half)
    return low, high


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """Return the two-sided exact p of McNemar's test between two predictors on the same images.

    correct_a, correct_b: booleans [n], image by image. Under the null the images that only one of them gets
    right are a Binomial(b + c, 1/2); p = 1 where there are none. Source: McNemar, Psychometrika 1947 (exact
    form). Raises ValueError for shapes that differ.
    """
    a: Bool[np.ndarray, " images"] = np.asarray(correct_a, dtype=bool)
    b: Bool[np.ndarray, " images"] = np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"McNemar's test needs the same images twice, not shapes {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


PAIRWISE = 8
"""So many numbers and more NumPy adds in pairs; fewer one after the other, which Python does ten times as fast."""


class MeanSd(NamedTuple):
    """Mean and sample standard deviation (ddof = 1; None for a single value) of n values."""

    mean: float
    sd: float | None
    n: int

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """Return `65.1 ± 0.8`, or `65.1` alone where one value allows no spread."""
        mean = f"{self.mean * scale:.{digits}f}"
        return mean if self.sd is None else f"{mean} ± {self.sd * scale:.{digits}f}"


def mean_sd(values: Sequence[float]) -> MeanSd:
    """Return mean and standard deviation (ddof = 1) of values. Raises ValueError for none or not finite."""
    n = len(values)
    if n == 0 or not all(map(isfinite, values)):
        raise ValueError("mean_sd needs at least one value, all finite")
    if n >= PAIRWISE:
        array = np.asarray(values, dtype=np.float64)
        return MeanSd(float(array.mean()), float(array.std(ddof=1)), n)
    mean = reduce(add, values) / n
    sd = sqrt(reduce(add, [(value - mean) * (value - mean) for value in values]) / (n - 1)) if n > 1 else None
    return MeanSd(mean, sd, n)


def holm(p: ArrayLike) -> Float[np.ndarray, " tests"]:
    """Return Holm's step-down adjusted p values, in the order given.

    Source: Holm, Scandinavian Journal of Statistics 1979.
    p: [tests] in [0, 1]; none gives none. An adjusted p below .05 rejects at family-wise error .05.
    Raises ValueError for values outside [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("Holm's correction needs p values in [0, 1]")
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted
