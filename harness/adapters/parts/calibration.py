"""Calibration on labelled source images: a temperature, alone or with a bias for each class (no adapter).

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (temperature scaling); Alexandari, Kundaje
and Shrikumar, "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift Adaptation", ICML
2020 (bias-corrected temperature scaling, BCTS).
Equation: z' = a z + b with a = 1 / temperature > 0; a and b (b = 0 without bias) minimise the mean of
logsumexp(z'_i) - z'_{i, y_i} over the source images. That is convex in (a, b) together, and solved by Newton's method:
a product with the second derivative costs as little as one with the posteriors.
A bias moves the posteriors to the class prior s of the source images: with BCTS, softmax(z') answers for s.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import Bounds, minimize

from harness.adapters.parts.contract import Logits, Mixture, PerClass, Prior, Ratios, WeightedExperts
from harness.adapters.parts.correction import prior_correction
from harness.evidence.arrays import Evidence, Source
from harness.evidence.check import check_finite, check_labels
from methods.core.priors import LOG_FLOOR, ExpertPriors, normalise, target_prior
from shifts.common.blocks import row_blocks

STEEPEST = 100.0
LARGEST_BIAS = 100.0
"""Bounds of 1/a, a and |b|. Source images that a line separates would otherwise push them to infinity."""

Parameters = Float[np.ndarray, " parameters"]
"""The slope and, with a bias, one number a class."""


@dataclass(frozen=True)
class Calibration(Mixture):
    """z' = slope z + bias, which answers for `prior` [C]: the source's class shares, where a bias was fitted."""

    def apply(self, logits: Logits) -> Logits:
        """Return calibrated logits, float64."""
        return self.slope * np.asarray(logits, dtype=np.float64) + self.bias

    def posteriors(self, evidence: Evidence) -> Ratios:
        """Return the softmax of the calibrated mean of expert logits, float32."""
        return self._shares(evidence, np.ones_like(self.prior))

    def ratios(self, evidence: Evidence) -> Ratios:
        """Return these posteriors over the prior that they answer for, float32."""
        return self._shares(evidence, np.maximum(normalise(self.prior), LOG_FLOOR))

    def corrected(self, experts: int, prior: Prior) -> WeightedExperts:
        """Return what predicts the calibrated mean of `experts` experts' logits + log prior - log s."""
        bias = self.bias + prior_correction(prior, self.prior)
        return WeightedExperts(np.full(experts, self.slope / experts), bias=bias, prior=prior, mixture=self)

    def _shares(self, evidence: Evidence, divisor: PerClass) -> Ratios:
        images, experts, classes = evidence.logits.shape
        shares = np.empty((images, classes), np.float32)
        for rows in row_blocks(images, experts * classes):
            scores = self.apply(evidence.logits[rows].mean(axis=1, dtype=np.float64))
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            shares[rows] = powers / (powers.sum(axis=1, keepdims=True) * divisor)
        return shares


def uncalibrated(expert_priors: ExpertPriors) -> Calibration:
    """Return what leaves logits as they are: they answer for the target prior of their mean."""
    answered = target_prior(expert_priors)
    return Calibration(1.0, np.zeros_like(answered), answered)


def temperature_scaling(logits: Float[np.ndarray, "source classes"], labels: Int[np.ndarray, " source"]) -> Calibration:
    """Find the temperature 1 / slope with the lowest NLL; the bias is zero.

    Raises ValueError for logits that are not finite, labels out of range and classes without an image.
    """
    return _fit(logits, labels, biased=False)


def bias_corrected_temperature_scaling(
    logits: Float[np.ndarray, "source classes"], labels: Int[np.ndarray, " source"]
) -> Calibration:
    """Find the temperature and the bias [C] with the lowest NLL; of equivalent biases the one with mean zero.

    Raises ValueError as `temperature_scaling`.
    """
    return _fit(logits, labels, biased=True)


def recalibrated(source: Source, first: Calibration, prior: Prior) -> Calibration:
    """Fit BCTS of the mean of expert logits to source images weighted so that their classes have the shares `prior`.

    It answers for `prior`, and is calibrated where images of that prior lie. first: what it starts from. Raises
    ValueError as `temperature_scaling`, and for a prior with a zero.
    """
    moved = replace(first, bias=first.bias + prior_correction(prior, first.prior), prior=prior)
    return _fit(_mean(source), source.labels, biased=True, start=moved)


@lru_cache(maxsize=2)
def calibrated(source: Source) -> Calibration:
    """Fit BCTS of the mean of expert logits; kept for as long as the same source is used, whatever is drawn."""
    return bias_corrected_temperature_scaling(_mean(source), source.labels)


def tempered(source: Source, answered: Prior) -> Calibration:
    """Scale the temperature of the mean of expert logits, corrected from the prior that it answers for to the source's.

    z' = a (z + log s - log answered), so a is fitted to posteriors under s.
    """
    classes = source.logits.shape[2]
    moved = prior_correction(normalise(np.bincount(source.labels, minlength=classes)), answered)
    fitted = temperature_scaling(_mean(source) + moved, source.labels)
    return replace(fitted, bias=fitted.slope * moved)


def _mean(source: Source) -> Float[np.ndarray, "source classes"]:
    return np.asarray(source.logits.mean(axis=1, dtype=np.float64))


def _fit(
    logits: Float[np.ndarray, "source classes"],
    labels: Int[np.ndarray, " source"],
    biased: bool,
    start: Calibration | None = None,
) -> Calibration:
    """Minimise the mean NLL from `start` on, images weighted to its prior; by default from none, unweighted."""
    scores = np.array(logits, dtype=np.float64)
    if scores.ndim != 2 or len(scores) == 0:
        raise ValueError(f"source logits must be [images >= 1, classes], not of shape {scores.shape}")
    check_finite(scores, "source logits", image_axis=0)
    images, classes = scores.shape
    check_labels(labels, images, classes)
    shares = normalise(np.bincount(labels, minlength=classes))
    prior = shares if start is None else normalise(start.prior)
    if (shares == 0).any() or (prior == 0).any():
        raise ValueError(f"no source image is of class {int(np.minimum(shares, prior).argmin())}")
    # Answers do not change with a constant an image; with this one no exponential overflows.
    scores -= scores.max(axis=1, keepdims=True)
    loss = _Loss(scores, labels, (prior / shares)[labels] / images, prior)
    begin = Calibration(1.0, np.zeros(classes), prior) if start is None else start
    slope, bias = _lowest(loss, begin.slope, begin.bias, biased)
    return Calibration(slope, bias - bias.mean(), prior)


def _lowest(loss: "_Loss", slope: float, bias: PerClass, biased: bool) -> tuple[float, PerClass]:
    """Find slope and bias with the lowest loss from these on; the bias stays where it is unless it is fitted too."""
    size = 1 + len(bias) if biased else 1
    begin = np.concatenate([[slope], bias])[:size]
    low, high = np.full(size, -LARGEST_BIAS), np.full(size, LARGEST_BIAS)
    low[0], high[0] = 1 / STEEPEST, STEEPEST
    # In these units the second derivative of each parameter is about one, so that few products tell a step.
    loss.look(slope, bias)
    units = 1 / np.sqrt(np.concatenate([[max(loss.spread, 1.0)], loss.prior]))[:size]

    def look(scaled: Parameters) -> None:
        values = scaled * units
        loss.look(float(values[0]), values[1:] if biased else bias)

    def cost(scaled: Parameters) -> tuple[float, Parameters]:
        look(scaled)
        return loss.value, loss.gradient[:size] * units

    def curved(scaled: Parameters, direction: Parameters) -> Parameters:
        look(scaled)
        step = direction * units
        return loss.curved(float(step[0]), step[1:] if biased else np.zeros_like(bias))[:size] * units

    newton: dict[str, Any] = {"method": "trust-ncg", "hessp": curved, "options": {"gtol": 1e-8}}
    bounded: dict[str, Any] = {"method": "L-BFGS-B", "bounds": Bounds(low / units, high / units)}
    for how in (newton, bounded | {"options": {"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-6}}):
        found = minimize(cost, begin / units, jac=True, **how).x * units
        if ((low <= found) & (found <= high)).all():
            break
    return float(found[0]), found[1:] if biased else bias


class _Loss:
    """The mean NLL of weighted source images where it was looked at last, with its first two derivatives.

    scores: with 0 as each image's highest. weights: of images, they sum to one. prior: of their classes.
    value; gradient: by slope, then by bias [C]; spread: the second derivative by slope.
    """

    def __init__(
        self,
        scores: Float[np.ndarray, "source classes"],
        labels: Int[np.ndarray, " source"],
        weights: Float[np.ndarray, " source"],
        prior: Prior,
    ) -> None:
        self.scores, self.weights, self.prior = scores, weights, prior
        self.own = float(weights @ scores[np.arange(len(labels)), labels])
        self.answers = np.empty_like(scores)
        self.expected = np.empty(len(scores))
        self.slope, self.bias = np.nan, np.full(scores.shape[1], np.nan)

    def look(self, slope: float, bias: PerClass) -> None:
        """Work out value and derivatives at a slope and a bias, unless they are there already."""
        if slope == self.slope and np.array_equal(bias, self.bias):
            return
        self.slope, self.bias = slope, bias.copy()
        partition, squares = 0.0, 0.0
        self.mean, self.mixed = np.zeros_like(bias), np.zeros_like(bias)
        for rows in row_blocks(*self.scores.shape):
            scores, weights = self.scores[rows], self.weights[rows]
            moved = slope * scores + bias
            top = moved.max(axis=1, keepdims=True)
            answers = np.exp(moved - top, out=self.answers[rows])
            totals = answers.sum(axis=1, keepdims=True)
            answers /= totals
            partition += float(weights @ (top + np.log(totals))[:, 0])
            tilted = answers * scores
            self.expected[rows] = tilted.sum(axis=1)
            squares += float(weights @ np.einsum("nc,nc->n", tilted, scores))
            self.mean += weights @ answers
            self.mixed += weights @ tilted
        self.value = partition - slope * self.own - float(bias @ self.prior)
        self.gradient = np.concatenate([[self.weights @ self.expected - self.own], self.mean - self.prior])
        self.spread = squares - float(self.weights @ self.expected**2)

    def curved(self, slope: float, bias: PerClass) -> Parameters:
        """Return the product of the second derivative, where it was looked at last, with a direction."""
        by_slope, by_bias = slope * self.spread + float(self.mixed @ bias), slope * self.mixed + self.mean * bias
        for rows in row_blocks(*self.scores.shape):
            answers, weights, expected = self.answers[rows], self.weights[rows], self.expected[rows]
            moved = answers @ bias
            by_slope -= float((weights * expected) @ moved)
            by_bias -= (weights * (slope * expected + moved)) @ answers
        return np.concatenate([[by_slope], by_bias])
