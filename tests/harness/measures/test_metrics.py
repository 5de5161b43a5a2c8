"""Metrics against plain Python, and against themselves recomputed from what a row keeps."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measures.metrics import (
    BINS,
    ece_from_bins,
    evaluate,
    expected_top1,
    group_accuracies,
    pack_bits,
    shot_groups,
    tv_estimate_test,
    tv_predicted_test,
    unpack_bits,
    view_stability,
)
from shifts.common.errors import WorkFailed


def drawn(seed: int, images: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=images)
    logits = rng.normal(scale=2, size=(images, classes)).astype(np.float32)
    logits[np.arange(images), labels] += 2
    return logits, labels, rng.integers(1, 200, size=classes)


def slow(logits: list[list[float]], labels: list[int], counts: list[int]) -> dict[str, float | None]:
    classes, n = len(counts), len(labels)
    hits, totals = [0] * classes, [0] * classes
    nll = entropy = ece = 0.0
    bins: list[list[tuple[bool, float]]] = [[] for _ in range(BINS)]
    for row, label in zip(logits, labels, strict=True):
        top = max(row)
        powers = [math.exp(value - top) for value in row]
        probs = [power / sum(powers) for power in powers]
        guess = row.index(top)
        totals[label] += 1
        hits[label] += guess == label
        nll -= math.log(probs[label]) / n
        entropy -= sum(p * math.log(p) for p in probs) / n
        place = next(b for b in range(BINS) if probs[guess] <= (b + 1) / BINS or b == BINS - 1)
        bins[place].append((guess == label, probs[guess]))
    for members in filter(None, bins):
        accuracy = sum(right for right, _ in members) / len(members)
        ece += len(members) / n * abs(accuracy - sum(confidence for _, confidence in members) / len(members))

    def group(keep: list[bool]) -> float | None:
        values = [hits[c] / totals[c] for c in range(classes) if keep[c] and totals[c]]
        return sum(values) / len(values) if values else None

    return {
        "top1": sum(hits) / n,
        "many": group([count > 100 for count in counts]),
        "medium": group([20 <= count <= 100 for count in counts]),
        "few": group([count < 20 for count in counts]),
        "macro": group([True] * classes),
        "nll": nll,
        "ece": ece,
        "entropy": entropy,
    }


@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(2, 9))
def test_metrics_equal_plain_python_and_their_own_row(seed: int, images: int, classes: int) -> None:
    logits, labels, counts = drawn(seed, images, classes)
    metrics = evaluate(logits, labels, counts)
    for name, value in slow(logits.astype(float).tolist(), labels.tolist(), counts.tolist()).items():
        assert getattr(metrics, name) == (value if value is None else pytest.approx(value, abs=1e-9)), name
    row = json.loads(json.dumps(asdict(metrics)))
    correct, total = row["per_class_correct"], row["per_class_total"]
    assert sum(correct) / sum(total) == pytest.approx(row["top1"])
    again = group_accuracies(correct, total, shot_groups(counts))
    assert again == {name: row[name] for name in ("many", "medium", "few")}
    assert ece_from_bins(row["bins_count"], row["bins_correct"], row["bins_confidence"]) == row["ece"]
    bits = unpack_bits(row["correct_bits"], row["n"])
    strata = np.split(bits, np.cumsum(total)[:-1])
    assert [int(part.sum()) for part in strata] == correct
    assert sum(row["bins_count"]) == sum(row["predicted"]) == sum(total) == images


def test_boundaries_of_the_shot_groups() -> None:
    groups = shot_groups([101, 100, 20, 19, 500, 1])
    assert {name: members.tolist() for name, members in groups.items()} == {
        "many": [0, 4],
        "medium": [1, 2],
        "few": [3, 5],
    }


def test_an_empty_group_is_none() -> None:
    logits, labels = np.eye(3, dtype=np.float32)[[0, 1, 1]], np.array([0, 1, 1])
    metrics = evaluate(logits, labels, np.array([200, 50, 5]))
    assert (metrics.many, metrics.medium, metrics.few) == (1.0, 1.0, None)  # class 2 is absent from the draw
    assert evaluate(logits, labels, np.array([200, 200, 200])).medium is None


def test_ece_of_hand_made_bins() -> None:
    counts, correct, confidence = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)
    counts[[7, 14]], correct[[7, 14]], confidence[[7, 14]] = [4, 6], [2, 6], [2.2, 5.7]
    assert ece_from_bins(counts, correct, confidence) == pytest.approx((0.2 + 0.3) / 10)


def test_confidences_fall_into_the_bin_that_they_close() -> None:
    probs = np.array([[0.6, 0.4], [0.61, 0.39], [1.0, 1e-300], [0.5, 0.5]])
    metrics = evaluate(np.log(probs), np.array([0, 1, 0, 1]), np.array([10, 10]))
    assert np.flatnonzero(metrics.bins_count).tolist() == [7, 8, 9, 14]  # .5, .6, .61, 1
    assert metrics.bins_correct[14] == 1
    assert metrics.bins_correct[7] == 0  # a tie is answered by the lowest class


@given(st.lists(st.booleans(), max_size=40))
def test_bits_round_trip(bits: list[bool]) -> None:
    assert unpack_bits(pack_bits(np.array(bits, dtype=bool)), len(bits)).tolist() == bits


def test_bits_of_another_number_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        unpack_bits(pack_bits(np.ones(9, dtype=bool)), 8)


def test_metrics_do_not_depend_on_the_order_of_images() -> None:
    logits, labels, counts = drawn(0, 60, 4)
    indices = np.random.default_rng(1).permutation(1000)[:60]
    order = np.random.default_rng(2).permutation(60)
    one = evaluate(logits, labels, counts, indices)
    other = evaluate(logits[order], labels[order], counts, indices[order])
    assert one.correct_bits == other.correct_bits
    assert one.per_class_correct == other.per_class_correct
    assert one.nll == pytest.approx(other.nll)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_fail_by_image(bad: float) -> None:
    logits, labels, counts = drawn(0, 20, 4)
    logits[3, 1] = logits[9, 0] = bad
    with pytest.raises(WorkFailed, match="image 3 "):
        evaluate(logits, labels, counts)
    with pytest.raises(WorkFailed, match="image 103 "):
        evaluate(logits, labels, counts, np.arange(100, 120))


def test_what_does_not_fit_is_refused() -> None:
    logits, labels, counts = drawn(0, 20, 4)
    for case in [(logits, labels[:-1], counts), (logits, labels, counts[:-1]), (logits, labels + 4, counts)]:
        with pytest.raises(ValueError, match=r"labels|train counts"):
            evaluate(*case)


def test_expected_top1_is_the_mean_over_the_prior() -> None:
    assert expected_top1([0.5, 1.0, 0.0], [2, 1, 1]) == pytest.approx(0.5)
    assert expected_top1([0.5, np.nan], [3, 0]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no accuracy"):
        expected_top1([0.5, np.nan], [1, 1])


def test_distances_to_the_true_prior() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]
    metrics = evaluate(logits, np.array([0, 0, 1, 2]), np.array([9, 9, 9]))
    assert tv_predicted_test(metrics) == pytest.approx(0.25)
    assert tv_estimate_test(np.array([0.5, 0.5, 0.0]), metrics.per_class_total) == pytest.approx(0.25)


def test_view_stability_is_one_where_views_agree() -> None:
    rng = np.random.default_rng(0)
    views = rng.normal(size=(3, 2, 40, 2, 5)).astype(np.float32)
    views[:, 1, :, 0] = views[:, 0, :, 0]
    labels = np.arange(40) % 5
    groups = shot_groups([200, 200, 50, 50, 50])
    stability = view_stability(views, labels, groups)
    assert list(stability) == ["all", "many", "medium", "few"]
    assert stability["few"] is None
    answers = np.exp(views.astype(float)) / np.exp(views.astype(float)).sum(-1, keepdims=True)
    norms = np.linalg.norm(answers, axis=-1)
    cosine = (answers[:, 0] * answers[:, 1]).sum(-1) / (norms[:, 0] * norms[:, 1])
    for name, members in {"all": range(5), "many": [0, 1], "medium": [2, 3, 4]}.items():
        expected = cosine[:, np.isin(labels, list(members))].mean((0, 1))
        assert stability[name] == pytest.approx(expected, abs=1e-6)
        assert stability[name][0] == pytest.approx(1, abs=1e-6)
