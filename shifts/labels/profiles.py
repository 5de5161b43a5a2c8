"""Class-count profiles: how many images of each class a training set or a shifted test set has.

Formulas: Cui et al. 2019 and Cao et al. 2019 (exp, step), Wu et al. 2020 (pareto, VOC-MLT), LADE (Hong et al.
2021) for the test shifts. All counts are whole images.
"""

import math
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from shifts.common.errors import BadInput, check_name

PROFILES = ("exp", "step", "pareto", "natural", "natural:holdout=N")
PARETO_SHAPE = 6
_HOLDOUT = re.compile(r"natural:holdout=([1-9][0-9]{0,8})")


def held_out(profile: str) -> int:
    """Return how many images of each class a profile keeps from training, as labelled source; 0 for most profiles.

    Raises BadInput for what is no profile.
    """
    match = _HOLDOUT.fullmatch(profile)
    if match is None:
        check_name("profile", profile, PROFILES)
        if profile == PROFILES[-1]:
            raise BadInput(f"profile {profile} stands for a form: give a number, as in natural:holdout=5")
    return int(match[1]) if match else 0


def check_ratio(what: str, value: float) -> float:
    """Return `value` as a float. Raises BadInput that begins with `what` unless it is a finite number >= 1."""
    number = float(value)
    if not math.isfinite(number) or number < 1:
        raise BadInput(f"{what} is {value}; it must be a finite number >= 1")
    return number


def class_rank(train_counts: Int[np.ndarray, " classes"], by_index: bool) -> Int[np.ndarray, " classes"]:
    """Return each class's rank, 0 = head: its index (CIFAR's convention) or by descending count, ties by index."""
    if by_index:
        return np.arange(len(train_counts))
    rank = np.empty(len(train_counts), dtype=np.int64)
    rank[np.argsort(-np.asarray(train_counts), kind="stable")] = np.arange(len(train_counts))
    return rank


def profile_counts(profile: str, n_max: int, imbalance: float, classes: int) -> list[int]:
    """Return images per class rank (0 = head) of a profile with `n_max` images in the head; non-increasing.

    exp: int(n_max * (1/IF) ** (c/(C-1))); step: n_max for the first half, int(n_max/IF) for the second;
    pareto: the density of a Pareto law with b = 6 at C evenly spaced points, ending where it has fallen to 1/IF
    (IF 215.4 gives VOC-MLT's reference counts).
    """
    # Python floats, not NumPy's power: the published counts come from this very expression.
    if profile == "step":
        return [n_max if c < classes // 2 else int(n_max / imbalance) for c in range(classes)]
    if profile == "pareto":
        # The guard keeps n_max/IF from falling to the next lower number by rounding.
        return [int(n_max * weight + 1e-9) for weight in profile_weights(profile, imbalance, classes)]
    return [int(n_max * weight) for weight in profile_weights(profile, imbalance, classes)]


def train_counts(
    profile: str,
    pool_counts: Int[np.ndarray, " classes"],
    imbalance: float | None,
    rank: Int[np.ndarray, " classes"],
    class_names: Sequence[str] | None = None,
) -> Int[np.ndarray, " classes"]:
    """Return the images of each class in a long-tailed training set; `natural` takes the pool as it is.

    `natural:holdout=N` leaves N images of each class out, at most half of them. On a pool that is not balanced the
    head's size is the largest for which every class fits its pool. Raises BadInput for an imbalance below 1, not
    finite, or so high that a class would be empty.
    """
    kept_back = held_out(profile)
    pool = np.asarray(pool_counts, dtype=np.int64)
    if kept_back or profile == "natural":
        return pool - np.minimum(kept_back, pool // 2)
    if imbalance is None:
        raise BadInput(f"profile {profile} needs an imbalance")
    imbalance = check_ratio("the train imbalance", imbalance)
    return fitted_counts(profile, imbalance, pool, rank, class_names, "train imbalance")


def profile_weights(profile: str, imbalance: float, classes: int) -> list[float]:
    """Return the share of the head's size by class rank, before rounding."""
    if profile == "step":
        return [1.0 if c < classes // 2 else 1 / imbalance for c in range(classes)]
    if profile == "pareto":
        end = imbalance ** (1 / (PARETO_SHAPE + 1))
        return [(1 + (end - 1) * c / (classes - 1)) ** -(PARETO_SHAPE + 1) for c in range(classes)]
    return [(1 / imbalance) ** (c / (classes - 1)) for c in range(classes)]


def fitted_counts(
    profile: str,
    imbalance: float,
    pool: Int[np.ndarray, " classes"],
    rank: Int[np.ndarray, " classes"],
    class_names: Sequence[str] | None,
    what: str,
) -> Int[np.ndarray, " classes"]:
    """Return the profile with the largest head that the pool can give, by class index."""
    if len(pool) < 2:
        raise BadInput("a long-tailed profile needs at least two classes")
    by_rank = pool[np.argsort(rank, kind="stable")].tolist()
    sizes = _largest_profile(profile, imbalance, by_rank)
    if min(sizes) < 1:
        empty = int(np.flatnonzero(rank == sizes.index(min(sizes)))[0])
        label = f"class {empty}" + (f" ({class_names[empty]})" if class_names is not None else "")
        highest = f"the highest possible is {_highest_imbalance(profile, by_rank)}"
        raise BadInput(f"{what} {imbalance:g} leaves {label} without images; {highest}")
    return np.asarray(sizes, dtype=np.int64)[rank]


def _largest_profile(profile: str, imbalance: float, pool: list[int]) -> list[int]:
    """Return profile sizes by rank with the largest head for which no class exceeds its pool."""
    weights = profile_weights(profile, imbalance, len(pool))
    bounds = ((size + 1) / max(weight, 1e-12) for size, weight in zip(pool, weights, strict=True))
    n_max = min(int(min(bounds)), pool[0])
    sizes = profile_counts(profile, n_max, imbalance, len(pool))
    while any(size > limit for size, limit in zip(sizes, pool, strict=True)):
        n_max -= 1
        sizes = profile_counts(profile, n_max, imbalance, len(pool))
    return sizes


def _highest_imbalance(profile: str, pool: list[int]) -> int:
    """Return the highest whole imbalance that leaves no class empty."""
    low, high = 1, max(pool) + 2
    while high - low > 1:
        middle = (low + high) // 2
        if min(_largest_profile(profile, middle, pool)) >= 1:
            low = middle
        else:
            high = middle
    return low


def largest_set(prior: Float[np.ndarray, " classes"], pool: Int[np.ndarray, " classes"]) -> Int[np.ndarray, " classes"]:
    """Return the counts of the largest set of this prior that the pool gives without replacement; some may be 0."""
    present = prior > 0
    bound = np.min((pool[present] + 1) / prior[present])
    for n in range(int(min(bound, pool.sum())), 0, -1):
        counts = sized_counts(prior, n)
        if (counts <= pool).all():
            return counts
    raise BadInput("the pool cannot give a single image of this prior")


def sized_counts(prior: Float[np.ndarray, " classes"], n: int) -> Int[np.ndarray, " classes"]:
    """Return the images of each class in a set of `n` images of this prior, by largest remainder; some may be 0.

    Whole parts, then one image each by descending remainder, ties by index.
    """
    exact = prior * n
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(-(exact - counts), kind="stable")[: n - counts.sum()]] += 1
    return counts
