"""What holds for every selection of label sets: seeded, from the pool, without repetition, as near as is said."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shifts.common.errors import BadInput
from shifts.images.catalog import load
from shifts.labels.distance import total_variation
from shifts.labels.selection import TOLERANCE, miss, select, wanted_marginals
from shifts.labels.shift import Shift, class_counts
from shifts.sets.resolve import resolve
from shifts.sets.training import training_set

seeds = st.integers(0, 2**32 - 1)


def pool(seed: int, images: int, classes: int) -> np.ndarray:
    rng = np.random.RandomState(seed)
    return (rng.random_sample((images, classes)) < rng.uniform(0.1, 0.6, classes)).astype(np.uint8)


@given(seeds, st.integers(1, 120), st.integers(2, 6), st.sampled_from(["forward_lt", "uniform", "backward_lt"]), seeds)
def test_a_selection_is_a_seeded_subset(seed: int, images: int, classes: int, kind: str, draw_seed: int) -> None:
    labels, rank = pool(seed, images, classes), np.random.RandomState(seed).permutation(classes)
    assume(labels.any(axis=0).all())
    shift = Shift.parse(kind)
    wanted = wanted_marginals(shift, rank)
    chosen = select(labels, wanted, draw_seed)
    assert chosen.dtype == np.int64
    assert (np.diff(chosen) > 0).all(), "ascending, so none twice"
    assert len(chosen) >= 1
    assert 0 <= chosen[0] <= chosen[-1] < images
    assert labels[chosen].any(axis=1).all(), "an image without labels helps no marginal"
    np.testing.assert_array_equal(chosen, select(labels.copy(), wanted, draw_seed))
    reached = labels[chosen].sum(axis=0) / labels[chosen].sum()
    assert miss(labels[chosen], shift, rank) == pytest.approx(0.5 * np.abs(reached - wanted).sum())


@given(seeds, st.integers(2, 8), st.floats(1, 100))
def test_one_label_an_image_meets_the_profile(seed: int, classes: int, ratio: float) -> None:
    """Without co-occurrence the marginals can be met, by sets nearly as large as the single-label draw."""
    labels = np.eye(classes, dtype=np.uint8)[np.random.RandomState(seed).permutation(np.arange(60 * classes) % classes)]
    shift, rank = Shift("forward_lt", ratio), np.arange(classes)
    chosen = select(labels, wanted_marginals(shift, rank), seed)
    assert miss(labels[chosen], shift, rank) <= TOLERANCE
    try:
        counts = class_counts(shift, labels.sum(axis=0), rank)
    except BadInput:
        return
    assert len(chosen) >= 0.9 * counts.sum()


@given(seeds, st.integers(2, 6))
def test_a_balanced_pool_is_taken_whole(seed: int, classes: int) -> None:
    sets = np.stack([np.roll(np.arange(classes) < 2, shift) for shift in range(classes)]).astype(np.uint8)
    labels = np.tile(sets, (5, 1))
    chosen = select(labels, wanted_marginals(Shift("uniform"), np.arange(classes)), seed)
    assert chosen.tolist() == list(range(len(labels)))


@given(st.integers(2, 30), st.floats(1, 300), seeds)
def test_backward_marginals_are_forward_reversed(classes: int, ratio: float, seed: int) -> None:
    rank = np.random.RandomState(seed).permutation(classes)
    forward = wanted_marginals(Shift("forward_lt", ratio), rank)
    backward = wanted_marginals(Shift("backward_lt", ratio), rank)
    by_rank = np.argsort(rank)
    np.testing.assert_allclose(forward[by_rank], backward[by_rank][::-1])
    assert forward.sum() == pytest.approx(1)
    assert forward.max() / forward.min() == pytest.approx(ratio)


def test_where_marginals_cannot_be_met_the_nearest_set_is_taken() -> None:
    """Label 1 never comes without label 0: equal shares are the best that there is for 'mostly label 1'."""
    labels = np.array([[1, 0]] * 5 + [[1, 1]] * 4, dtype=np.uint8)
    shift, rank = Shift("backward_lt", 9), np.arange(2)
    chosen = select(labels, wanted_marginals(shift, rank), 0)
    assert labels[chosen].tolist() == [[1, 1]] * 4
    assert miss(labels[chosen], shift, rank) == pytest.approx(0.4)


def test_a_label_that_the_pool_lacks() -> None:
    with pytest.raises(BadInput, match="no image of the pool has label 1"):
        select(np.array([[1, 0]], dtype=np.uint8), np.array([0.5, 0.5]), 0)


def test_the_embedded_shifts() -> None:
    dataset = load("embedded_mosaics")
    counts = training_set(dataset).counts
    sizes = {}
    for text in ("forward_lt-50", "uniform", "backward_lt-50", "natural"):
        indices, origin = resolve(dataset, Shift.parse(text), counts)
        assert origin == "generated"
        labels = dataset.test.labels[indices]
        found = miss(labels, Shift.parse(text), np.arange(10))
        assert found is None if text == "natural" else found <= TOLERANCE
        sizes[text] = (len(indices), total_variation(labels.sum(axis=0), counts))
        again, _ = resolve(dataset, Shift.parse(text), counts, seed=1)
        assert np.array_equal(indices, again) == (text in ("uniform", "natural"))
    assert sizes["uniform"][0] == sizes["natural"][0] == 2529
    assert sizes["forward_lt-50"] == (472, pytest.approx(0.202, abs=5e-4))
    assert sizes["backward_lt-50"] == (464, pytest.approx(0.866, abs=5e-4))


def test_no_rule_of_single_labels() -> None:
    dataset = load("embedded_mosaics")
    with pytest.raises(BadInput, match="first_n does not apply"):
        resolve(dataset, Shift.parse("forward_lt-50-first_n"), dataset.train.class_counts())


@pytest.mark.parametrize("text", ["shuffled_lt-50-s3", "dirichlet-0.1-s7", "custom-x.json", "list-x"])
def test_shifts_of_single_labels(text: str) -> None:
    dataset = load("embedded_mosaics")
    with pytest.raises(BadInput, match="needs one label an image; multi-label data take forward_lt, uniform"):
        resolve(dataset, Shift.parse(text), dataset.train.class_counts())
