"""Average precision against scikit-learn and against what it must be; groups; bootstrap intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from harness.measures import label_metrics as metrics
from harness.measures.label_metrics import _weighted, average_precisions, evaluate, label_groups
from shifts.common.errors import WorkFailed

seeds = st.integers(0, 2**32 - 1)
COUNTS = np.array([800, 100, 99, 20, 19, 3])


def drawn(seed: int, images: int, classes: int = 6, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, classes)) < 0.3).astype(np.uint8)
    scores = rng.normal(size=(images, classes)) + labels
    return (np.round(scores) if ties else scores).astype(np.float32), labels


@given(seeds, st.integers(1, 80), st.booleans())
def test_equal_to_scikit_learn(seed: int, images: int, ties: bool) -> None:
    scores, labels = drawn(seed, images, ties=ties)
    found = average_precisions(scores, labels)
    for c in range(6):
        if labels[:, c].any():
            assert found[c] == pytest.approx(average_precision_score(labels[:, c], scores[:, c]), abs=1e-12)
        else:
            assert np.isnan(found[c])


@given(seeds, st.integers(1, 80))
def test_f1_is_scikit_learns(seed: int, images: int) -> None:
    scores, labels = drawn(seed, images)
    labels[0, :2], labels[:, 5] = 1, 0
    found = evaluate(scores, labels, COUNTS, resamples=1)
    predicted, present = scores > 0, labels.any(axis=0)
    assert found.f1_micro == pytest.approx(f1_score(labels, predicted, average="micro", zero_division=0))
    each = f1_score(labels, predicted, average=None, zero_division=0)
    assert found.f1_macro == pytest.approx(each[present].mean())
    counts = np.array([found.per_class_right, found.per_class_predicted, found.per_class_positives])
    np.testing.assert_allclose(2 * counts[0] / np.maximum(counts[1] + counts[2], 1), each)


@given(seeds, st.integers(2, 60), st.booleans())
def test_resamples_are_weights_as_in_scikit_learn(seed: int, images: int, ties: bool) -> None:
    scores, labels = drawn(seed, images, 1, ties)
    weights = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=4).astype(float)
    found = _weighted(scores[:, 0], labels[:, 0], weights)
    for weight, value in zip(weights, found, strict=True):
        if (weight * labels[:, 0]).any():
            wanted = average_precision_score(labels[:, 0], scores[:, 0], sample_weight=weight)
            assert value == pytest.approx(wanted, abs=1e-12)
        else:
            assert np.isnan(value)


@given(seeds, st.integers(3, 100))
def test_a_perfect_ranking_is_one_and_the_order_of_images_does_not_count(seed: int, images: int) -> None:
    scores, labels = drawn(seed, images)
    labels[0] = 1
    perfect = evaluate(labels + 0.1 * scores.clip(-1, 1), labels, COUNTS, resamples=20)
    assert perfect.map == perfect.head == perfect.medium == perfect.tail == 1
    assert all(interval == (1, 1) for interval in perfect.intervals.values())
    shuffled = np.random.default_rng(seed).permutation(images)
    one, other = (evaluate(scores[o], labels[o], COUNTS, resamples=1) for o in (np.arange(images), shuffled))
    assert one.per_class_ap == pytest.approx(other.per_class_ap)
    assert one.per_class_positives == other.per_class_positives


def test_a_random_ranking_is_as_good_as_the_share_of_positives() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((4000, 3)) < [0.5, 0.2, 0.05]).astype(np.uint8)
    repeats = [average_precisions(rng.normal(size=labels.shape), labels) for _ in range(30)]
    np.testing.assert_allclose(np.mean(repeats, axis=0), labels.mean(axis=0), atol=0.006)
    constant = average_precisions(np.zeros(labels.shape), labels)
    np.testing.assert_allclose(constant, labels.mean(axis=0), err_msg="one threshold: everything is found at once")


def test_only_the_order_of_scores_counts() -> None:
    scores, labels = drawn(3, 200)
    squashed = 1 / (1 + np.exp(-scores.astype(np.float64)))
    np.testing.assert_array_equal(average_precisions(scores, labels), average_precisions(squashed, labels))


def test_groups_and_their_boundaries() -> None:
    groups = {name: members.tolist() for name, members in label_groups(COUNTS).items()}
    assert groups == {"map": [0, 1, 2, 3, 4, 5], "head": [0, 1], "medium": [2, 3], "tail": [4, 5]}
    scores, labels = drawn(0, 300)
    found = evaluate(scores, labels, COUNTS, resamples=5)
    precisions = average_precisions(scores, labels)
    assert found.map == pytest.approx(precisions.mean())
    assert found.head == pytest.approx(precisions[:2].mean())
    assert found.medium == pytest.approx(precisions[2:4].mean())
    assert found.tail == pytest.approx(precisions[4:].mean())


def test_labels_without_a_positive_image_are_null_and_in_no_mean() -> None:
    scores, labels = drawn(1, 100)
    labels[:, [3, 4, 5]] = 0
    found = evaluate(scores, labels, COUNTS, resamples=10)
    assert found.per_class_ap[3:] == (None, None, None)
    assert found.per_class_positives[3:] == (0, 0, 0)
    precisions = average_precisions(scores, labels)
    assert found.medium == pytest.approx(precisions[2])
    assert found.map == pytest.approx(precisions[:3].mean())
    assert found.tail is None
    assert found.intervals["tail"] is None
    assert found.intervals["medium"] is not None


def test_bootstrap_is_seeded_and_as_wide_as_the_spread_between_draws() -> None:
    def at(seed: int, images: int = 400, resamples: int = 400, of: int = 0) -> metrics.Metrics:
        return evaluate(*drawn(seed, images), COUNTS, resamples=resamples, seed=of)

    assert at(0) == at(0)
    assert at(0).intervals != at(0, of=1).intervals
    assert at(0).per_class_ap == at(0, of=1).per_class_ap
    draws = [at(seed, resamples=1).map for seed in range(200)]
    low, high = at(0).intervals["map"] or (0, 0)
    assert low < at(0).map < high
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(draws, ddof=1), rel=0.25)
    wide = at(0, images=100).intervals["map"] or (0, 0)
    assert wide[1] - wide[0] > high - low


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Few positives: here quantiles of the resamples themselves would hold it in about 80% of draws."""
    shares = np.array([0.5, 0.2, 0.1, 0.05, 0.03, 0.02])

    def draw(rng: np.random.Generator, images: int) -> tuple[np.ndarray, np.ndarray]:
        labels = (rng.random((images, 6)) < shares).astype(np.uint8)
        return rng.normal(size=(images, 6)) + 1.5 * labels, labels

    truth = average_precisions(*draw(np.random.default_rng(0), 200_000)).mean()
    held = 0
    for seed in range(100):
        low, high = evaluate(*draw(np.random.default_rng(seed + 1), 300), COUNTS, resamples=150).intervals["map"] or (
            0,
            0,
        )
        held += low <= truth <= high
    assert 90 <= held <= 99


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = drawn(5, 60)
    whole = evaluate(scores, labels, COUNTS, resamples=50)
    monkeypatch.setattr(metrics, "CHUNK", 60 * 7)
    assert evaluate(scores, labels, COUNTS, resamples=50) == whole


def test_what_cannot_be_measured() -> None:
    scores, labels = drawn(0, 10)
    with pytest.raises(WorkFailed, match="scores of 1 test images are not finite"):
        evaluate(np.where(np.eye(10, 6) * np.arange(6) == 5, np.nan, scores), labels, COUNTS)
    with pytest.raises(ValueError, match="no image of the draw has a label"):
        evaluate(scores, np.zeros_like(labels), COUNTS)
    with pytest.raises(ValueError, match=r"labels \(10, 5\)"):
        evaluate(scores, labels[:, :5], COUNTS)
