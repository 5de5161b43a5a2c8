"""What holds for every profile, draw and distance."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shifts.common.errors import BadInput
from shifts.labels.distance import etvd, js_divergence, total_variation
from shifts.labels.draw import draw
from shifts.labels.profiles import class_rank, train_counts
from shifts.labels.shift import Shift, class_counts

weights = arrays(np.float64, 6, elements=st.floats(0, 1e6)).filter(lambda w: w.sum() > 0)
pools = arrays(np.int64, st.integers(2, 12), elements=st.integers(1, 200))


@given(weights, weights, weights)
def test_total_variation_is_a_metric_in_the_unit_interval(p, q, r) -> None:  # type: ignore[no-untyped-def]
    assert 0 <= total_variation(p, q) <= 1
    assert total_variation(p, p) == 0
    assert total_variation(p, q) == total_variation(q, p)
    assert total_variation(p, r) <= total_variation(p, q) + total_variation(q, r) + 1e-12
    assert abs(total_variation(p, q) - total_variation(3 * p, 5 * q)) < 1e-12
    assert etvd(np.stack([p, q, r])) >= total_variation(p, r) - 1e-12
    # between TV^2 / 2 (Pinsker) and ln 2 TV (Lin 1991)
    far = total_variation(p, q)
    assert far**2 / 2 - 1e-12 <= js_divergence(p, q) <= np.log(2) * far + 1e-12
    assert js_divergence(p, q) == pytest.approx(js_divergence(5 * q, 3 * p), abs=1e-12)
    assert js_divergence(p, p) == 0


@given(pools, st.floats(1, 300), st.sampled_from(["exp", "step", "pareto"]), st.booleans())
def test_profiles_are_monotone_and_within_the_pool(  # type: ignore[no-untyped-def]
    pool, imbalance, profile, by_index
) -> None:
    rank = class_rank(pool, by_index)
    try:
        counts = train_counts(profile, pool, imbalance, rank)
    except BadInput:
        assume(False)
    assert (counts >= 1).all()
    assert (counts <= pool).all()
    assert (np.diff(counts[np.argsort(rank)]) <= 0).all()


@given(st.integers(2, 30), st.integers(1, 300), st.floats(1, 300))
def test_backward_is_forward_reversed(classes: int, size: int, ratio: float) -> None:
    pool, rank = np.full(classes, size), np.arange(classes)
    try:
        forward = class_counts(Shift("forward_lt", ratio), pool, rank)
    except BadInput:
        assume(False)
    backward = class_counts(Shift("backward_lt", ratio), pool, rank)
    assert (backward == forward[::-1]).all()
    assert forward[0] == size


@given(pools, st.floats(0.05, 20), st.integers(0, 2**32 - 1))
def test_dirichlet_sets_fit_the_pool_and_their_prior(  # type: ignore[no-untyped-def]
    pool, alpha, seed
) -> None:
    prior = np.random.RandomState(seed).dirichlet([alpha] * len(pool))
    counts = class_counts(Shift("dirichlet", alpha=alpha, seed=seed), pool, np.arange(len(pool)))
    assert (counts <= pool).all()
    assert (counts >= 0).all()
    assert counts.sum() >= 1
    assert np.abs(counts - prior * counts.sum()).max() < 1 + 1e-6


@given(st.data(), st.sampled_from(["seeded-shuffle", "first-n"]), st.integers(0, 2**32 - 1))
def test_a_draw_is_a_subset_without_repeats(data, rule, seed) -> None:  # type: ignore[no-untyped-def]
    labels = data.draw(arrays(np.int64, st.integers(5, 60), elements=st.integers(0, 4)))
    pool = np.bincount(labels, minlength=5)
    counts = np.array([data.draw(st.integers(0, int(size))) for size in pool])
    indices = draw(labels, counts, rule, seed)
    assert indices.dtype == np.int64
    assert len(set(indices.tolist())) == len(indices)
    assert (np.bincount(labels[indices], minlength=5) == counts).all()
    assert (draw(labels, counts, rule, seed) == indices).all()


texts = st.one_of(
    st.builds(Shift, st.sampled_from(["forward_lt", "backward_lt"]), ratio=st.floats(1, 1e12)),
    st.builds(
        Shift,
        st.just("shuffled_lt"),
        ratio=st.floats(1, 1e12),
        seed=st.integers(0, 2**32 - 1),
        rule=st.sampled_from(["seeded-shuffle", "first-n"]),
    ),
    st.builds(Shift, st.just("dirichlet"), alpha=st.floats(1e-9, 1e9), seed=st.integers(0, 2**32 - 1)),
    st.builds(Shift, st.just("custom"), path=st.text(min_size=1).filter(lambda t: not t.endswith("-first_n"))),
)


@given(texts)
def test_text_reads_back_to_an_equal_shift(shift: Shift) -> None:
    assert Shift.parse(str(shift)) == shift
