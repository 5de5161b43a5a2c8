"""A contender and an answer as plain values."""

from dataclasses import dataclass

from harness.evidence.access import Access


@dataclass(frozen=True)
class Standing:
    """A contender's place while families of shifts are drawn anew: 95% interval of its rank, share of first places.

    A first place that several have is shared among them.
    """

    low: int
    high: int
    first: float


@dataclass(frozen=True)
class Contender:
    """A method with an adapter, over the shifts of an answer. Accuracies (fractions of 1) are means over train seeds.

    mean_low, mean_high: 95% interval; None if it has no width, for example when every image is classified correctly.
    worst: the lowest accuracy on a shift. regret: the largest shortfall on a shift, to the best contender of the same
    answer there. p_adjusted: p of no difference to the best mean, adjusted by Holm over the others (1 for the best
    itself). best_group: whether p_adjusted >= .05. standing: over families of shifts, where that was asked for and the
    contender has all of them.
    """

    method: str
    recipe: str | None
    adapter: str
    views: int | None
    target_prior_kind: str
    train_seeds: tuple[int, ...]
    mean: float
    mean_low: float | None
    mean_high: float | None
    worst: float
    worst_shift: str
    regret: float
    regret_shift: str
    p_adjusted: float
    best_group: bool
    by_shift: dict[str, float]
    standing: Standing | None = None


@dataclass(frozen=True)
class Answer:
    """Contenders with the same data, recipe and shifts, by mean, best first, and which of them to choose.

    access: of the contenders; of a situation the most that it gives. left_out: the number of contenders of this access
    that lack some of the shifts, or have them with different train seeds. situation: what the user has, in words; empty
    for an access class. stability: how firmly the best mean is first over families of shifts, in words; empty where it
    was not asked for.
    """

    dataset: str
    train: str
    recipe_note: str
    access: Access
    shifts: tuple[str, ...]
    contenders: tuple[Contender, ...]
    best_mean: Contender
    best_worst: Contender
    least_regret: Contender
    sentence: str
    left_out: int = 0
    situation: str = ""
    stability: str = ""
