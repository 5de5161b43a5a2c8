"""Paired comparison of contenders over several drawn sets: a class-stratified bootstrap crossed with train seeds.

Accuracies over a few drawn sets are averaged. All sets come from one pool of test images, so a pool image that stands
in several sets is resampled once for all of them, and for all contenders alike. Train seeds are resampled with
replacement: together for contenders that share their networks (adapters of one method), separately for others, since
seed 0 of one method has nothing in common with seed 0 of another. One seed: images only. Sources: Efron and Tibshirani
1993 (bootstrap), Rao and Wu, JASA 1988 (small strata), Owen, Annals of Applied Statistics 2007 (crossed factors),
Hesterberg, The American Statistician 2015 (few seeds), Hsu, Annals of Statistics 1984 (comparison with the best).

Approximations, each on the wide side except the first:
1. Counts of a resampled class are independent Poisson(1) weights centred within the class, the linear form of a
   multinomial resample: exact to first order, and defined where a small set holds few of a class's images.
2. Classes with one image in a set are one stratum together (collapsed strata).
3. The effects of images and of seeds are added; their interaction is in either.
4. R seeds have a spread that is itself poorly known: their effect is expanded by sqrt(R / (R - 1)) and by the quantile
   of t(R - 1) over the normal one (together 2.7 for three seeds, 1.2 for ten).
5. Where it is not known which images two sets share, the effect of images is as large as any sharing allows
   (Cauchy-Schwarz).
Simulations with a known truth stand in tests/harness/choice/test_bootstrap.py.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri, stdtrit

from harness.measures.statistics import holm

RESAMPLES = 2000
PER_CONTENDER = 40
"""Resamples a contender: the smallest p, 1 / (resamples + 1), must survive Holm's factor at .05."""
CHUNK = 2**22
"""Weights in memory at once."""


@dataclass(frozen=True, eq=False)
class DrawnSet:
    """A drawn test set.

    classes: the class of each image, ascending. places: where each image stands in the pool; None if not known.
    """

    classes: Int[np.ndarray, " images"]
    places: Int[np.ndarray, " images"] | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """M contenders. Means and their percentile intervals; `best` has the highest mean (ties: the first).

    difference: best minus contender. p: two-sided, of no difference; p_adjusted: Holm over the other
    contenders, 1 for the best itself. group: adjusted p >= .05, not distinguishable from the best.
    """

    mean: Float[np.ndarray, " contenders"]
    low: Float[np.ndarray, " contenders"]
    high: Float[np.ndarray, " contenders"]
    best: int
    difference: Float[np.ndarray, " contenders"]
    p: Float[np.ndarray, " contenders"]
    p_adjusted: Float[np.ndarray, " contenders"]
    group: Bool[np.ndarray, " contenders"]


def compare(
    correct: Sequence[Sequence[Bool[np.ndarray, "seeds images"]]],
    draws: Sequence[DrawnSet],
    networks: Sequence[Hashable] | None = None,
    *,
    resamples: int | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compare contenders by their accuracy, averaged over train seeds and drawn sets (each set counts the same).

    correct[contender][set]: whether each image of the set is classified correctly, by train seed. networks: equal for
    contenders with the same trained networks, seed by seed (None: no two share them). resamples: at least 2,000 by
    default, more for many contenders. seed: of the resampling; the same input gives the same result, whatever the order
    of contenders. level: of the intervals. Raises ValueError for shapes that do not fit.
    """
    contenders = len(correct)
    by_seed = [_by_seed(sets, draws) for sets in correct]
    mean = np.array([values.mean() for values in by_seed])
    count = max(RESAMPLES, PER_CONTENDER * contenders) if resamples is None else resamples
    rng = np.random.default_rng(seed)
    noise = image_effects(influence(correct, draws), count, rng)
    noise += _seed_effects(by_seed, range(contenders) if networks is None else networks, count, level, rng)

    best = int(mean.argmax())
    difference = mean[best] - mean
    gaps = noise[:, [best]] - noise
    tail = [(1 - level) / 2, (1 + level) / 2]
    # The tolerance keeps rounding from telling equal contenders apart.
    extreme = (np.abs(gaps) >= np.abs(difference) - 1e-7).sum(axis=0)
    p = (1 + extreme) / (1 + count)
    others = np.arange(contenders) != best
    p_adjusted = np.ones(contenders)
    p_adjusted[others] = holm(p[others])
    low, high = mean + np.quantile(noise, tail, axis=0)
    return Comparison(mean, low, high, best, difference, p, p_adjusted, p_adjusted >= 0.05)


def _by_seed(
    sets: Sequence[Bool[np.ndarray, "seeds images"]], draws: Sequence[DrawnSet]
) -> Float[np.ndarray, " seeds"]:
    """Return a contender's accuracy by train seed, averaged over the sets."""
    if len(sets) != len(draws) or any(
        x.shape != (len(sets[0]), len(d.classes)) for x, d in zip(sets, draws, strict=True)
    ):
        raise ValueError("each contender needs one array [seeds, images] for each drawn set, with the same seeds")
    return np.mean([values.mean(axis=1) for values in sets], axis=0)


def influence(
    correct: Sequence[Sequence[Bool[np.ndarray, "seeds images"]]], draws: Sequence[DrawnSet]
) -> Float[np.ndarray, "places contenders"]:
    """Return what one more copy of each pool image adds to each contender's mean, to first order."""
    known = all(drawn.places is not None for drawn in draws)
    first = np.cumsum([0, *(len(drawn.classes) for drawn in draws)])
    # Where sharing is unknown, each set has places of its own and their effects cannot cancel.
    places = [
        drawn.places if known and drawn.places is not None else np.arange(first[number], first[number + 1])
        for number, drawn in enumerate(draws)
    ]
    widening = 1.0 if known else sqrt(len(draws))
    result = np.zeros((max(int(at.max()) for at in places) + 1, len(correct)), dtype=np.float32)
    for number, (drawn, at) in enumerate(zip(draws, places, strict=True)):
        strata, totals = np.unique(_strata(drawn.classes), return_inverse=True, return_counts=True)[1:]
        values = np.stack([sets[number].mean(axis=0, dtype=np.float64) for sets in correct], axis=1)
        order = np.argsort(strata, kind="stable")
        sums = np.add.reduceat(values[order], np.cumsum(totals) - totals, axis=0)
        centred = values - (sums / totals[:, None])[strata]
        # Rao and Wu: n - 1 in the variance of a stratum of n images.
        scale = np.sqrt(totals / np.maximum(totals - 1, 1))[strata] * widening / (len(values) * len(draws))
        result[at] += centred * scale[:, None]
    return result


def _strata(classes: Int[np.ndarray, " images"]) -> Int[np.ndarray, " images"]:
    """Return each image's stratum: its class. Classes of one image share a stratum; a single one joins the smallest."""
    names, totals = np.unique(classes, return_counts=True)
    single = names[totals == 1]
    if len(single) == 0 or len(names) == 1:
        return classes
    joined = single if len(single) > 1 else [single[0], names[totals > 1][totals[totals > 1].argmin()]]
    return np.where(np.isin(classes, joined), -1, classes)


def image_effects(
    influence: Float[np.ndarray, "places contenders"], resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, "resamples contenders"]:
    """Draw deviations of the means under resampling of the pool's images."""
    chunk = max(CHUNK // len(influence), 1)
    parts = [
        (rng.poisson(1.0, (min(chunk, resamples - start), len(influence))) - 1).astype(np.float32) @ influence
        for start in range(0, resamples, chunk)
    ]
    return np.concatenate(parts).astype(np.float64)


def _seed_effects(
    by_seed: Sequence[Float[np.ndarray, " seeds"]],
    networks: Sequence[Hashable],
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "resamples contenders"]:
    """Draw expanded deviations of the means under resampling of train seeds; zero for a contender with one seed."""
    shares: dict[Hashable, Float[np.ndarray, "resamples seeds"]] = {}
    result = np.zeros((resamples, len(by_seed)))
    # By value, so that neither names nor order decide which contender gets which random numbers.
    for number in sorted(range(len(by_seed)), key=lambda one: by_seed[one].tolist()):
        values, size, network = by_seed[number], len(by_seed[number]), networks[number]
        if size > 1:
            if network not in shares:
                shares[network] = rng.multinomial(size, np.full(size, 1 / size), resamples) / size
            expansion = sqrt(size / (size - 1)) * stdtrit(size - 1, (1 + level) / 2) / ndtri((1 + level) / 2)
            result[:, number] = shares[network] @ (values - values.mean()) * expansion
    return result
