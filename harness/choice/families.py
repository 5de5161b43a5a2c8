"""How firmly contenders are ranked over families of shifts: families are drawn anew, beside images and train seeds.

The forward, uniform and backward sets lie on one line, from the class order to its reverse: they are one family, the
axis. Each kind of order-free shift (shuffled_lt, dirichlet) is another. A contender's mean over families counts each
family the same; a resample takes as many families as there are, with replacement, and moves the accuracy in each by the
images and seeds of `harness.choice.bootstrap`, the same images for all families of one pool.

Families are few, and somebody chose them: the intervals tell how much a rank leans on that choice, no more. Of R train
seeds the spread is itself poorly known, so that their effect follows t(R - 1): sqrt((R - 1) / chi-square) makes it so.
Source: Efron and Tibshirani 1993 (bootstrap); Goldstein and Spiegelhalter, JRSS A 1996 (intervals of ranks).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from harness.choice.bootstrap import RESAMPLES, image_effects, influence
from harness.choice.contenders import Standing
from harness.choice.entrants import Contest, Entrant
from harness.show.shifts import is_ordered, read

AXIS = "the axis"
LEVEL = 0.95
TOLERANCE = 1e-7
"""Keeps rounding from telling equal contenders apart."""


@dataclass(frozen=True, eq=False)
class Field:
    """Contenders that have all families of one training set and recipe, with resampled accuracies in each.

    places: setting of a contender -> its number. accuracy: [resamples, contenders, families].
    """

    families: tuple[str, ...]
    places: dict[Hashable, int]
    accuracy: Float[np.ndarray, "resamples contenders families"]

    def standings(self, entrants: Sequence[Entrant], families: Sequence[str] | None = None) -> dict[Hashable, Standing]:
        """Return by setting how those of `entrants` stand that have all families, over some of these (None: all)."""
        members: list[Hashable] = [entrant.setting for entrant in entrants if entrant.setting in self.places]
        if not members:
            return {}
        kept = [self.families.index(name) for name in families or self.families]
        among = self.accuracy[:, [self.places[setting] for setting in members]][:, :, kept]
        means = np.einsum("rmf,rf->rm", among, drawn_families(len(among), len(kept)))
        ahead = np.stack([(means > one[:, None] + TOLERANCE).sum(axis=1) for one in means.T], axis=1)
        first = ahead == 0
        share = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
        tail = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        low, high = np.quantile(ahead + 1, tail, axis=0, method="inverted_cdf")
        return {
            setting: Standing(int(low[number]), int(high[number]), float(share[number]))
            for number, setting in enumerate(members)
        }


def drawn_families(resamples: int, families: int) -> Float[np.ndarray, "resamples families"]:
    """Draw as many families as there are with replacement, and return the share of each; always the same draws."""
    return np.random.default_rng(families).multinomial(families, np.full(families, 1 / families), resamples) / families


def family(shift: str) -> str:
    """Return the family of a shift: the axis, or the kind of an order-free one."""
    return AXIS if is_ordered(shift) else read(shift).kind


def field_of(contests: Sequence[Contest], resamples: int = RESAMPLES, seed: int = 0) -> Field:
    """Resample the accuracies of contenders over the families of contests of one training set and recipe.

    The same contests give the same field, whatever the order of contenders.
    """
    entrants = [
        [one, *(other for contest in contests[1:] for other in contest.entrants if same(one, other))]
        for one in contests[0].entrants
    ]
    complete = [parts for parts in entrants if len(parts) == len(contests)]
    places: dict[Hashable, int] = {parts[0].setting: number for number, parts in enumerate(complete)}
    of = {family(shift): number for number, contest in enumerate(contests) for shift in contest.shifts}
    names = tuple(sorted(of, key=lambda name: (name != AXIS, name)))
    if not complete:
        return Field(names, {}, np.empty((resamples, 0, len(names))))
    pieces, by_family = [], []
    for name in names:
        contest = contests[of[name]]
        drawn = [pair for pair in zip(contest.shifts, contest.draws, strict=True) if family(pair[0]) == name]
        draws = [one for _, one in drawn]
        correct = [[parts[of[name]].correct[shift] for shift, _ in drawn] for parts in complete]
        pieces.append((influence(correct, draws), all(one.places is not None for one in draws)))
        by_family.append([np.mean([values.mean(axis=1) for values in sets], axis=0) for sets in correct])
    rng = np.random.default_rng(seed)
    noise = image_effects(_beside(pieces), resamples, rng).reshape(resamples, len(names), len(complete))
    by_seed = [np.stack(values, axis=1) for values in zip(*by_family, strict=True)]
    networks = [parts[0].networks(contests[0].shifts[0]) for parts in complete]
    means = np.stack([values.mean(axis=0) for values in by_seed])
    return Field(names, places, means + noise.transpose(0, 2, 1) + _seed_effects(by_seed, networks, resamples, rng))


def same(one: Entrant, other: Entrant) -> bool:
    """Return whether two entrants are one contender in two contests, with the same networks."""
    return one.setting == other.setting and one.networks(next(iter(one.rows))) == other.networks(next(iter(other.rows)))


def _seed_effects(
    by_seed: Sequence[Float[np.ndarray, "seeds families"]],
    networks: Sequence[Hashable],
    resamples: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "resamples contenders families"]:
    """Draw deviations under resampling of train seeds, the same for all families and for contenders of one network."""
    shares: dict[Hashable, Float[np.ndarray, "resamples seeds"]] = {}
    result = np.zeros((resamples, len(by_seed), by_seed[0].shape[1]))
    # By value, so that neither names nor order decide which contender gets which random numbers.
    for number in sorted(range(len(by_seed)), key=lambda one: by_seed[one].tolist()):
        values, size, network = by_seed[number], len(by_seed[number]), networks[number]
        if size > 1:
            if network not in shares:
                drawn = rng.multinomial(size, np.full(size, 1 / size), resamples) / size
                # A resample has the spread of size - 1: sqrt(size / (size - 1)), times the root that makes it a t.
                shares[network] = drawn * np.sqrt(size / rng.chisquare(size - 1, (resamples, 1)))
            result[:, number] = shares[network] @ (values - values.mean(axis=0))
    return result


def _beside(
    pieces: Sequence[tuple[Float[np.ndarray, "places contenders"], bool]],
) -> Float[np.ndarray, "places columns"]:
    """Put influences side by side: places of one pool are the same rows, unknown ones have rows of their own."""
    shared = max((len(values) for values, known in pieces if known), default=0)
    own = [len(values) for values, known in pieces if not known]
    columns = pieces[0][0].shape[1]
    result = np.zeros((shared + sum(own), columns * len(pieces)), dtype=np.float32)
    start = shared
    for number, (values, known) in enumerate(pieces):
        first = 0 if known else start
        result[first : first + len(values), number * columns : (number + 1) * columns] = values
        start += 0 if known else len(values)
    return result
