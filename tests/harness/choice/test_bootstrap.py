"""The paired bootstrap: against formulas, and in simulations where the truth is known."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from harness.choice.bootstrap import Comparison, DrawnSet, compare
from shifts.labels.draw import draw

PER_CLASS = 40
COUNTS = ((40, 30, 20, 10, 5), (40, 40, 40, 40, 40), (5, 10, 20, 30, 40))
"""Three drawn sets of a pool of five classes: they share images, as the published ones do."""
LABELS = np.repeat(np.arange(5), PER_CLASS)
SETS = tuple(
    DrawnSet(np.repeat(np.arange(5), counts), np.sort(draw(LABELS, np.array(counts), "seeded-shuffle", 0)))
    for counts in COUNTS
)
APART = tuple(replace(one, places=np.arange(len(one.classes)) + 1000 * number) for number, one in enumerate(SETS))
"""The same sets as if no image stood in two of them."""
UNKNOWN = tuple(replace(one, places=None) for one in SETS)


@dataclass(frozen=True)
class World:
    """Contenders of equal skill. An image is right if skill + effects of seed, image and both exceed zero.

    seed, image, both: standard deviations. adapted: share of the effect `both` that is new for each drawn set.
    """

    contenders: int
    seeds: int
    seed: float = 0.0
    image: float = 0.7
    both: float = 0.7
    adapted: float = 0.3
    skill = np.array([1.5, 1.0, 0.5, 0.0, -0.5])

    def sample(self, rng: np.random.Generator) -> tuple[list[list[np.ndarray]], np.ndarray]:
        """What `compare` gets, and the true mean of each contender: of its networks if it has one seed."""
        image = self.image * rng.normal(size=len(LABELS))
        skill = self.skill[LABELS] + image
        networks = self.seed * rng.normal(size=(self.contenders, self.seeds, 1))
        fixed = rng.normal(size=(self.contenders, self.seeds, len(LABELS)))
        correct: list[list[np.ndarray]] = [[] for _ in range(self.contenders)]
        for one in SETS:
            new = rng.normal(size=fixed.shape)
            both = self.both * (np.sqrt(1 - self.adapted) * fixed + np.sqrt(self.adapted) * new)
            right = (skill + networks + both > 0)[:, :, one.places]
            for number in range(self.contenders):
                correct[number].append(right[number])
        return correct, self._truth(networks)

    def _truth(self, networks: np.ndarray) -> np.ndarray:
        shares = np.mean([np.array(counts) / sum(counts) for counts in COUNTS], axis=0)
        spread = self.image**2 + self.both**2
        if self.seeds > 1:
            right = ndtr(self.skill / np.sqrt(spread + self.seed**2))
            return np.full(self.contenders, right @ shares)
        return ndtr((self.skill + networks[:, 0]) / np.sqrt(spread)) @ shares


@dataclass(frozen=True)
class Trials:
    """Repetitions of a world, each compared."""

    world: World
    sets: tuple[DrawnSet, ...] = SETS
    trials: int = 200
    start: int = 0

    @cached_property
    def done(self) -> list[tuple[Comparison, np.ndarray]]:
        made = []
        for number in range(self.start, self.start + self.trials):
            correct, truth = self.world.sample(np.random.default_rng(number))
            made.append((compare(correct, self.sets, resamples=400, seed=number), truth))
        return made

    @property
    def coverage(self) -> float:
        """Of the interval of a mean."""
        return float(np.mean([result.low[0] <= truth[0] <= result.high[0] for result, truth in self.done]))

    @property
    def lost(self) -> float:
        """How often a contender that nobody beats is not in the rank group."""
        return float(np.mean([not result.group[truth.argmax()] for result, truth in self.done]))


def test_intervals_cover_with_one_seed() -> None:
    trials = Trials(World(contenders=2, seeds=1))
    assert 0.92 <= trials.coverage <= 0.98


@pytest.mark.statistical
def test_images_that_sets_share_matter() -> None:
    """If they were resampled set by set, the same intervals would miss the truth far too often."""
    world = World(contenders=2, seeds=1, adapted=0.0)
    assert Trials(world).coverage >= 0.92
    assert Trials(world, APART).coverage <= 0.88
    assert Trials(world, UNKNOWN).coverage >= 0.95


@pytest.mark.statistical
@pytest.mark.parametrize(("seeds", "least"), [(3, 0.92), (6, 0.92)])
def test_intervals_cover_where_seeds_dominate(seeds: int, least: float) -> None:
    trials = Trials(World(contenders=2, seeds=seeds, seed=0.6))
    assert trials.coverage >= least


@pytest.mark.statistical
@pytest.mark.parametrize(("seeds", "seed"), [(1, 0.0), (3, 0.0), (3, 0.5), (5, 0.2)])
def test_the_best_stays_in_the_rank_group(seeds: int, seed: float) -> None:
    assert Trials(World(contenders=6, seeds=seeds, seed=seed), trials=150).lost <= 0.05


@pytest.mark.statistical
def test_p_is_uniform_between_equals() -> None:
    p = [result.p.min() for result, _ in Trials(World(contenders=2, seeds=1), trials=300).done]
    for level in (0.05, 0.25, 0.5, 0.75):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 300) + 0.01)


def test_p_falls_with_the_difference() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.6
    worse = [np.where(rng.random(200) < share, False, right) for share in (0.02, 0.1, 0.3)]
    result = compare([[values[None]] for values in (right, *worse)], [DrawnSet(LABELS, np.arange(200))])
    assert result.best == 0
    assert result.p[0] == 1
    assert result.p[1] > result.p[2] >= result.p[3]
    assert result.group.tolist() == [True, True, False, False]


def half(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Half the width of a 95% interval in standard deviations of a normal law."""
    return (high - low) / (2 * 1.959964)


def test_one_set_and_seed_have_the_stratified_standard_error() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 200)) < np.array([0.9, 0.8, 0.6, 0.5, 0.3])[LABELS]
    result = compare([[a[None]], [b[None]]], [DrawnSet(LABELS, None)], resamples=20_000)

    def error(values: np.ndarray) -> float:
        by_class = values.reshape(5, PER_CLASS)
        return float(np.sqrt((by_class.var(axis=1, ddof=1) / PER_CLASS).sum() / 25))

    assert result.mean.tolist() == [a.mean(), b.mean()]
    assert half(result.low, result.high) == pytest.approx([error(a), error(b)], rel=0.04)
    # p is that of the difference over its own standard error: both contenders answer for the same images.
    p = 2 * ndtr(-abs(a.mean() - b.mean()) / error(a.astype(float) - b))
    assert result.p.min() == pytest.approx(p, rel=0.1, abs=0.002)


def test_a_set_counted_twice_tells_nothing_new() -> None:
    right = np.random.default_rng(1).random((1, 200)) < 0.6
    once = DrawnSet(LABELS, np.arange(200))
    single, double = compare([[right]], [once]), compare([[right, right]], [once, once])
    assert [*single.low, *single.high] == pytest.approx([*double.low, *double.high], abs=1e-7)
    unknown = compare([[right, right]], [DrawnSet(LABELS, None)] * 2)
    assert half(unknown.low, unknown.high) == pytest.approx(half(single.low, single.high), rel=0.1)


def test_seeds_of_one_network_are_resampled_together() -> None:
    """Two adapters that differ by the same for each seed are told apart, however much the seeds differ."""
    images = np.arange(200)
    first = np.stack([images % 10 < share for share in (3, 5, 8)])
    second = first.copy()
    second[:, images % 10 == 0] = False
    for networks, apart in ((["one", "one"], True), (["one", "other"], False), (None, False)):
        result = compare([[first], [second]], [DrawnSet(np.zeros(200, int), images)], networks)
        assert (result.best, result.group[1]) == (0, not apart)


def test_classes_with_one_image_are_one_stratum() -> None:
    classes = np.array([0, 1, 2, 3, 4])
    right = np.array([[True, False, True, True, False]])
    result = compare([[right]], [DrawnSet(classes, None)], resamples=20_000)
    assert half(result.low, result.high)[0] == pytest.approx(np.sqrt(right.var(ddof=1) / 5), rel=0.1)
    lone = compare([[right]], [DrawnSet(np.array([0, 0, 1, 1, 2]), None)])
    assert lone.high[0] > lone.low[0]
    nothing = compare([[right[:, :1]]], [DrawnSet(classes[:1], None)])
    assert nothing.high[0] == nothing.low[0] == 1


@st.composite
def fields(draws: st.DrawFn) -> tuple[list[list[np.ndarray]], list[int]]:
    """Up to five contenders with one to three seeds on the three sets, and which share their networks."""
    rng = np.random.default_rng(draws(st.integers(0, 2**20)))
    seeds = draws(st.integers(1, 3))
    skills = draws(st.lists(st.sampled_from([0.3, 0.5, 0.55, 0.9]), min_size=1, max_size=5))
    made = [[rng.random((seeds, len(one.classes))) < skill for one in SETS] for skill in skills]
    return made, draws(st.lists(st.integers(0, 2), min_size=len(made), max_size=len(made)))


@given(fields(), st.randoms(use_true_random=False))
def test_properties(field: tuple[list[list[np.ndarray]], list[int]], shuffler: object) -> None:
    correct, networks = field
    result = compare(correct, SETS, networks, resamples=200)
    assert result.mean[result.best] == result.mean.max()
    assert result.group[result.best]
    assert result.p[result.best] == result.p_adjusted[result.best] == 1
    assert (result.p > 0).all()
    assert (result.p <= result.p_adjusted).all()
    assert (result.p_adjusted <= 1).all()
    assert (result.group == (result.p_adjusted >= 0.05)).all()
    assert (result.difference >= 0).all()
    assert (result.low <= result.high).all()

    order = list(range(len(correct)))
    shuffler.shuffle(order)  # type: ignore[attr-defined]
    names = {0: "c", 1: "a", 2: "b"}
    again = compare([correct[n] for n in order], SETS, [names[networks[n]] for n in order], resamples=200)
    assert again.mean.tolist() == result.mean[order].tolist()
    for part in ("low", "high", "p"):
        if len(set(result.mean.tolist())) == len(correct):
            assert getattr(again, part) == pytest.approx(getattr(result, part)[order], abs=1e-6), part


@given(fields())
def test_a_copy_is_never_distinguished(field: tuple[list[list[np.ndarray]], list[int]]) -> None:
    correct, networks = field
    best = compare(correct, SETS, networks, resamples=200).best
    result = compare([*correct, correct[best]], SETS, [*networks, networks[best]], resamples=200)
    assert result.p[-1] == result.p_adjusted[-1] == 1
    assert result.group[-1]


def test_the_same_input_gives_the_same_result() -> None:
    correct, _ = World(contenders=3, seeds=3, seed=0.3).sample(np.random.default_rng(0))
    one, two, other = (compare(correct, SETS, seed=seed) for seed in (0, 0, 1))
    assert (one.low == two.low).all()
    assert (one.low != other.low).any()


def test_resamples_are_enough_for_holm() -> None:
    """A hundred contenders far behind are all told apart from the best."""
    images = np.arange(200)
    best = (images % 10 > 0)[None]
    others = [((images + number) % 10 > 6)[None] for number in range(100)]
    result = compare([[values] for values in (best, *others)], [DrawnSet(np.zeros(200, int), images)])
    assert result.group.tolist() == [True] + [False] * 100


@pytest.mark.parametrize("shapes", [[(1, 9)], [(1, 10), (1, 10)], []])
def test_shapes_that_do_not_fit_are_refused(shapes: list[tuple[int, int]]) -> None:
    drawn = DrawnSet(np.zeros(10, int), np.arange(10))
    with pytest.raises(ValueError, match="one array"):
        compare([[np.ones(shape, bool) for shape in shapes]], [drawn])
