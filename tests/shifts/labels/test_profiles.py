"""Golden values of the published profiles and shifts."""

import json
from pathlib import Path

import numpy as np
import pytest

from shifts.common.errors import BadInput
from shifts.labels.distance import (
    etvd,
    js_divergence,
    match_distance,
    relative_error,
    total_variation,
    tv_experts_test_mean,
)
from shifts.labels.profiles import class_rank, held_out, sized_counts, train_counts
from shifts.labels.shift import Shift, class_counts, class_prior, published_shifts

RANK = np.arange(100)
TRAIN_POOL, TEST_POOL = np.full(100, 500), np.full(100, 100)

SIZES = [2486, 2956, 3876, 4932, 7166, 10_000, 7166, 4932, 3876, 2956, 2486]
DISTANCES = [0.049, 0.113, 0.205, 0.281, 0.385, 0.464, 0.540, 0.632, 0.692, 0.759, 0.800]


@pytest.mark.parametrize(
    ("imbalance", "n", "groups"),
    [(100, 10_847, (35, 35, 30)), (50, 12_608, (41, 41, 18)), (10, 19_573, (69, 31, 0))],
)
def test_cifar100_lt(imbalance: float, n: int, groups: tuple[int, int, int]) -> None:
    counts = train_counts("exp", TRAIN_POOL, imbalance, RANK)
    assert counts.sum() == n
    assert ((counts > 100).sum(), ((counts >= 20) & (counts <= 100)).sum(), (counts < 20).sum()) == groups


def test_published_sizes_and_distances() -> None:
    train = train_counts("exp", TRAIN_POOL, 100, RANK)
    counts = [class_counts(shift, TEST_POOL, RANK) for shift in published_shifts()]
    assert [int(c.sum()) for c in counts] == SIZES
    assert [round(total_variation(train, c), 3) for c in counts] == DISTANCES


def test_step_and_pareto() -> None:
    assert train_counts("step", np.full(4, 500), 100, np.arange(4)).tolist() == [500, 500, 5, 5]
    pareto = train_counts("pareto", np.full(20, 800), 0.01 ** (-7 / 6), np.arange(20))
    assert (pareto[0], pareto[-1]) == (800, 3)
    assert train_counts("natural", np.array([3, 9]), None, np.arange(2)).tolist() == [3, 9]


def test_an_unbalanced_pool_gives_the_largest_profile_that_fits() -> None:
    pool = np.array([100, 10, 30])
    by_index = train_counts("exp", pool, 4, np.arange(3))
    assert by_index.tolist() == [21, 10, 5]  # class 1 limits: int(21 / 2) = 10, int(22 / 2) = 11 > 10
    ranked = train_counts("exp", pool, 4, class_rank(pool, by_index=False))
    assert ranked.tolist() == [43, 10, 21]
    assert class_counts(Shift("uniform"), pool, np.arange(3)).tolist() == [10, 10, 10]


def test_holding_out() -> None:
    pool = np.array([50, 9, 3, 1])
    assert train_counts("natural:holdout=4", pool, None, np.arange(4)).tolist() == [46, 5, 2, 1]
    assert [held_out(profile) for profile in ("exp", "natural", "natural:holdout=12")] == [0, 0, 12]
    for wrong in ("natural:holdout=0", "natural:holdout=-1", "exp:holdout=2", "natural:keep=2"):
        with pytest.raises(BadInput, match="unknown profile"):
            held_out(wrong)
    with pytest.raises(BadInput, match="give a number, as in natural:holdout=5"):
        held_out("natural:holdout=N")


def test_natural_is_the_pool_and_uniform_its_balanced_part() -> None:
    pool = np.array([5, 9, 2])
    assert class_counts(Shift("natural"), pool, np.arange(3)).tolist() == [5, 9, 2]
    assert class_counts(Shift("uniform"), pool, np.arange(3)).tolist() == [2, 2, 2]


def test_rank_of_a_long_tailed_set() -> None:
    assert class_rank(np.array([5, 9, 5, 1]), by_index=False).tolist() == [1, 0, 2, 3]
    assert class_rank(np.array([5, 9, 5, 1]), by_index=True).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("imbalance", [0.5, float("nan"), float("inf"), -3])
def test_imbalance_below_one_or_not_finite(imbalance: float) -> None:
    with pytest.raises(BadInput, match=r"finite number >= 1"):
        train_counts("exp", TRAIN_POOL, imbalance, RANK)


@pytest.mark.parametrize("profile", ["exp", "step", "pareto"])
def test_an_imbalance_that_empties_a_class_names_it_and_the_highest(profile: str) -> None:
    with pytest.raises(BadInput, match=r"leaves class \d+ \(c\d+\) without images; the highest possible is 64$"):
        train_counts(profile, np.full(10, 64), 65, np.arange(10), [f"c{i}" for i in range(10)])
    assert train_counts(profile, np.full(10, 64), 64, np.arange(10)).min() == 1


def test_shuffled_lt_is_the_profile_over_a_permutation() -> None:
    counts = class_counts(Shift("shuffled_lt", 50, seed=3), TEST_POOL, RANK)
    forward = class_counts(Shift("forward_lt", 50), TEST_POOL, RANK)
    order = np.random.RandomState(3).permutation(100)
    assert (counts[order] == forward).all()


def test_dirichlet_is_the_largest_set_of_its_prior() -> None:
    pool = np.full(10, 500)
    prior = np.random.RandomState(7).dirichlet([1.0] * 10)
    counts = class_counts(Shift("dirichlet", alpha=1, seed=7), pool, np.arange(10))
    assert counts.max() == 500
    assert np.abs(counts - prior * counts.sum()).max() < 1
    with pytest.raises(BadInput, match="underflows"):
        class_counts(Shift("dirichlet", alpha=1e-6), pool, np.arange(10))


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        ([1, 1, 2], [5, 5, 10]),
        ({"weights": [0, 1, 1]}, [0, 10, 10]),
        ({"counts": [1, 2, 3]}, [1, 2, 3]),
        ({"b": 3, "c": 1.5}, [0, 10, 5]),
        ({"counts": {"a": 4}}, [4, 0, 0]),
    ],
)
def test_custom(tmp_path: Path, content: object, counts: list[int]) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(content))
    shift = Shift("custom", path=str(file))
    assert class_counts(shift, np.full(3, 10), np.arange(3), ["a", "b", "c"]).tolist() == counts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2", "not JSON"),
        ("[1, 2]", "holds 2 numbers; there are 3 classes"),
        ("[1, -2, 3]", "not a finite number >= 0"),
        ("[1, NaN, 3]", "not a finite number >= 0"),
        ("[0, 0, 0]", "are zero"),
        ('"many"', "must hold 3 numbers"),
        ('{"bb": 1}', "unknown class in .* 'bb'; allowed: b,"),
        ('{"counts": [1.5, 0, 0]}', "not a whole number"),
        ('{"counts": [11, 0, 0]}', r"asks for 11 images of class 0 \(a\); the pool has 10"),
    ],
)
def test_custom_refuses(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(content)
    with pytest.raises(BadInput, match=message):
        class_counts(Shift("custom", path=str(file)), np.full(3, 10), np.arange(3), ["a", "b", "c"])


def test_environment_distances() -> None:
    pi = train_counts("exp", TRAIN_POOL, 100, RANK) / 10_847
    uniform = np.full(100, 0.01)
    # SADE's third expert (tau = 2) answers for the squared prior, reversed by rank.
    reversed_squared = pi[::-1] ** 2
    assert etvd(np.stack([pi, uniform, reversed_squared])) == pytest.approx(0.926, abs=5e-4)
    experts = np.stack([pi, uniform])
    assert tv_experts_test_mean(experts, uniform) == pytest.approx(total_variation(pi, uniform) / 2)
    assert etvd(pi[None]) == 0
    for wrong in ([np.nan, 1], [-1, 2], [0, 0], [np.inf, 1]):
        with pytest.raises(ValueError, match="label distribution"):
            total_variation(np.array(wrong), np.array([1, 1]))


def test_sets_of_a_given_size() -> None:
    prior = class_prior(Shift("dirichlet", alpha=0.1, seed=7), TEST_POOL, RANK)
    assert prior.tolist() == np.random.RandomState(7).dirichlet(np.full(100, 0.1)).tolist()
    counts = sized_counts(prior, 10_000)
    assert counts.sum() == 10_000
    assert np.abs(counts - 10_000 * prior).max() < 1
    assert counts.max() > TEST_POOL[0], "no pool gives that without replacement"
    backward = class_prior(Shift("backward_lt", 50), TEST_POOL, RANK)
    assert sized_counts(backward, 2486).tolist() == class_counts(Shift("backward_lt", 50), TEST_POOL, RANK).tolist()


def test_relative_error_and_match_distance_by_hand() -> None:
    truth, estimate = np.array([0.5, 0.5, 0]), np.array([0.25, 0.5, 0.25])
    added = 1 / 20
    smooth = [(side + added) / 1.15 for side in (truth, estimate)]
    assert relative_error(estimate, truth, 10) == pytest.approx(np.mean(np.abs(smooth[1] - smooth[0]) / smooth[0]))
    assert relative_error(truth, truth, 10) == 0
    assert match_distance(estimate, truth) == pytest.approx((0.25 + 0.25) / 2)
    assert match_distance(np.array([1.0, 0, 0]), np.array([0, 0, 1.0])) == 1
    assert match_distance(np.array([1.0, 0, 0]), np.array([0, 1.0, 0])) == 0.5
    assert match_distance(np.ones(1), np.ones(1)) == 0


def test_js_divergence() -> None:
    assert js_divergence(np.array([1, 0]), np.array([0, 3])) == pytest.approx(np.log(2))
    # by hand: m = (3/8, 5/8)
    expected = (0.5 * np.log(4 / 3) + 0.5 * np.log(4 / 5) + 0.25 * np.log(2 / 3) + 0.75 * np.log(6 / 5)) / 2
    assert js_divergence(np.array([1, 1]), np.array([1, 3])) == pytest.approx(expected)
    # shares that EM has all but given up
    assert js_divergence(np.array([1, 5e-324]), np.array([1, 0])) == 0
    with pytest.raises(ValueError, match="two priors of one length"):
        js_divergence(np.array([1, 1]), np.array([1, 1, 1]))
