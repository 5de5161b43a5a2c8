"""Calibration: known temperatures and biases are found, and nothing gets worse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax

from harness.adapters.parts.calibration import (
    STEEPEST,
    Calibration,
    bias_corrected_temperature_scaling,
    calibrated,
    temperature_scaling,
    tempered,
)
from harness.evidence.arrays import Source
from methods.core.priors import normalise


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]).mean())


def true_posteriors(seed: int, images: int = 20_000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the probability of the labels, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(images, classes))
    labels = (softmax(logits, axis=1).cumsum(1) > rng.random((images, 1))).argmax(1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature: float) -> None:
    logits, labels = true_posteriors(0)
    found = temperature_scaling(temperature * logits, labels)
    assert found.slope == pytest.approx(1 / temperature, rel=0.05)
    assert not found.bias.any()


@pytest.mark.parametrize("temperature", [0.3, 2.5])
def test_a_known_temperature_and_bias_are_found(temperature: float) -> None:
    logits, labels = true_posteriors(1)
    bias = np.array([1.0, -1.0, 0.5, -0.5, 0.0])
    found = bias_corrected_temperature_scaling(temperature * (logits - bias), labels)
    assert found.slope == pytest.approx(1 / temperature, rel=0.05)
    np.testing.assert_allclose(found.bias, bias, atol=0.1)
    assert found.bias.sum() == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(found.prior, np.bincount(labels) / len(labels))
    answers = softmax(found.apply(temperature * (logits - bias)), axis=1)
    np.testing.assert_allclose(answers.mean(0), found.prior, atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(1, 10), st.floats(0.01, 60))
def test_calibration_is_never_worse_than_none_and_a_bias_never_worse_than_none(
    seed: int, classes: int, each: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(classes * each) % classes
    logits = rng.normal(scale=scale, size=(len(labels), classes))
    plain, biased = temperature_scaling(logits, labels), bias_corrected_temperature_scaling(logits, labels)
    costs = [nll(logits, labels), nll(plain.apply(logits), labels), nll(biased.apply(logits), labels)]
    assert costs[1] <= costs[0] + 1e-9
    assert costs[2] <= costs[1] + 1e-6 * max(1, costs[1])
    assert np.isfinite(costs).all()


@given(st.integers(0, 2**32 - 1), st.floats(-1000, 1000))
def test_a_constant_changes_nothing(seed: int, constant: float) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = true_posteriors(seed, images=300)
    moved = logits + constant * rng.random((300, 1))
    for fit in (temperature_scaling, bias_corrected_temperature_scaling):
        before, after = fit(logits, labels), fit(moved, labels)
        assert after.slope == pytest.approx(before.slope, rel=1e-3)
        np.testing.assert_allclose(after.bias, before.bias, atol=1e-3)


def test_the_optimum_is_stationary() -> None:
    logits, labels = true_posteriors(3, images=2000)
    found = bias_corrected_temperature_scaling(logits, labels)
    rng = np.random.default_rng(0)
    best = nll(found.apply(logits), labels)
    for _ in range(20):
        step = 1e-2 * rng.normal(size=6)
        other = Calibration(found.slope + step[0], found.bias + step[1:], found.prior)
        assert nll(other.apply(logits), labels) > best


def test_separable_and_huge_logits_stay_finite() -> None:
    labels = np.arange(40) % 4
    for scale in (1e-3, 1.0, 1e4):
        found = bias_corrected_temperature_scaling(scale * np.eye(4)[labels], labels)
        assert 0 < found.slope <= STEEPEST
        assert np.isfinite(found.apply(scale * np.eye(4)[labels])).all()
    wrong = temperature_scaling(1e4 * np.eye(4)[(labels + 1) % 4], labels)
    assert wrong.slope == pytest.approx(1 / STEEPEST)


@pytest.mark.parametrize(
    ("logits", "labels", "hint"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "images >= 1"),
        (np.full((3, 3), np.nan), np.arange(3), "image 0"),
        (np.zeros((3, 3)), np.array([0, 1, 3]), "0..2"),
        (np.zeros((3, 3)), np.array([0, 1, 1]), "of class 2"),
    ],
)
def test_unusable_sources_are_refused(logits: np.ndarray, labels: np.ndarray, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        bias_corrected_temperature_scaling(logits, labels)


def test_tempered_answers_for_the_source_prior() -> None:
    """Logits that answer for another prior than the source's: the correction is part of the calibration."""
    logits, labels = true_posteriors(5)
    source_prior = normalise(np.bincount(labels, minlength=5))
    answered = normalise(np.array([16.0, 8, 4, 2, 1]))
    shown = 2 * logits + np.log(answered) - np.log(source_prior)
    source = Source(shown[:, None].astype(np.float32), labels, 0)
    found = tempered(source, answered)
    assert found.slope == pytest.approx(0.5, rel=0.05)
    np.testing.assert_allclose(
        softmax(found.apply(shown), axis=1), softmax(found.slope * 2 * logits, axis=1), atol=1e-5
    )


def test_a_source_is_calibrated_once() -> None:
    logits, labels = true_posteriors(6, images=200)
    source = Source(logits[:, None].astype(np.float32), labels, 0)
    assert calibrated(source) is calibrated(source)
    again = Source(source.logits, labels, 0)
    assert calibrated(again) is not calibrated(source)
    assert calibrated(again).slope == calibrated(source).slope
