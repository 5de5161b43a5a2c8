"""Calibration on labelled source images: a temperature, alone or with a bias for each class (no adapter).

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (temperature scaling); Alexandari, Kundaje
and Shrikumar, "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift Adaptation", ICML
2020 (bias-corrected temperature scaling, BCTS).
Equation: z' = a z + b with a = 1 / temperature > 0; a and b (b = 0 without bias) minimise the mean of
logsumexp(z'_i) - z'_{i, y_i} over the source images. That is convex in (a, b) together.
A bias moves the posteriors to the class prior s of the source images: with BCTS, softmax(z') answers for s.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from harness.adapters.parts.contract import Logits, PerClass, Posteriors, Prior, WeightedExperts
from harness.adapters.parts.correction import prior_correction
from harness.evidence.arrays import Evidence, Source
from harness.evidence.check import check_finite, check_labels
from methods.core.priors import normalise

STEEPEST = 100.0
LARGEST_BIAS = 100.0
"""Bounds of 1/a, a and |b|. Source images that a line separates would otherwise push them to infinity."""


@dataclass(frozen=True)
class Calibration:
    """z' = slope z + bias, which answers for `prior` [C]: the source's class shares, where a bias was fitted."""

    slope: float
    bias: PerClass
    prior: Prior

    def apply(self, logits: Logits) -> Logits:
        """Calibrated logits, float64."""
        return self.slope * np.asarray(logits, dtype=np.float64) + self.bias

    def corrected(self, experts: int, prior: Prior) -> WeightedExperts:
        """What predicts the calibrated mean of `experts` experts' logits + log prior - log s."""
        bias = self.bias + prior_correction(prior, self.prior)
        return WeightedExperts(np.full(experts, self.slope / experts), bias=bias, prior=prior)


def temperature_scaling(logits: Float[np.ndarray, "source classes"], labels: Int[np.ndarray, " source"]) -> Calibration:
    """The temperature 1 / slope with the lowest NLL; the bias is zero.

    Raises ValueError for logits that are not finite, labels out of range and classes without an image.
    """
    return _fit(logits, labels, biased=False)


def bias_corrected_temperature_scaling(
    logits: Float[np.ndarray, "source classes"], labels: Int[np.ndarray, " source"]
) -> Calibration:
    """The temperature and the bias [C] with the lowest NLL; of equivalent biases the one with mean zero.

    Raises ValueError as `temperature_scaling`.
    """
    return _fit(logits, labels, biased=True)


def recalibrated(source: Source, first: Calibration, prior: Prior) -> Calibration:
    """BCTS of the mean of expert logits with source images weighted so that their classes have the shares `prior`.

    It answers for `prior`, and is calibrated where images of that prior lie. first: what it starts from. Raises
    ValueError as `temperature_scaling`, and for a prior with a zero.
    """
    moved = replace(first, bias=first.bias + prior_correction(prior, first.prior), prior=prior)
    return _fit(_mean(source), source.labels, biased=True, start=moved)


@lru_cache(maxsize=8)
def calibrated(source: Source) -> Calibration:
    """BCTS of the mean of expert logits; kept for as long as the same source is used, whatever is drawn."""
    return bias_corrected_temperature_scaling(_mean(source), source.labels)


def tempered(source: Source, answered: Prior) -> Calibration:
    """Temperature scaling of the mean of expert logits, corrected from the prior that it answers for to the source's.

    z' = a (z + log s - log answered), so a is fitted to posteriors under s.
    """
    classes = source.logits.shape[2]
    moved = prior_correction(normalise(np.bincount(source.labels, minlength=classes)), answered)
    fitted = temperature_scaling(_mean(source) + moved, source.labels)
    return replace(fitted, bias=fitted.slope * moved)


def calibrated_posteriors(calibration: Calibration, evidence: Evidence) -> Posteriors:
    """Posteriors of the images under the source prior: softmax of the calibrated mean of expert logits; float64."""
    return np.asarray(softmax(calibration.apply(evidence.logits.mean(axis=1, dtype=np.float64)), axis=1))


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
    weights = (prior / shares)[labels] / images
    # Answers do not change with a constant an image; with this one no exponential overflows.
    scores -= scores.max(axis=1, keepdims=True)
    own = scores[np.arange(images), labels]

    def nll(values: Float[np.ndarray, " parameters"]) -> tuple[float, Float[np.ndarray, " parameters"]]:
        slope, bias = values[0], values[1:] if biased else np.zeros(classes)
        moved = slope * scores + bias
        partition = logsumexp(moved, axis=1)
        answers = np.exp(moved - partition[:, None])
        value = float(weights @ (partition - slope * own) - bias @ prior)
        by_slope = weights @ (np.einsum("nc,nc->n", answers, scores) - own)
        by_bias = weights @ answers - prior
        return value, np.concatenate([[by_slope], by_bias] if biased else [[by_slope]])

    slope, bias = (1.0, np.zeros(classes)) if start is None else (start.slope, start.bias)
    values = np.concatenate([[slope], bias if biased else []])
    bounds = [(1 / STEEPEST, STEEPEST)] + [(-LARGEST_BIAS, LARGEST_BIAS)] * (len(values) - 1)
    best = minimize(
        nll, values, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-6}
    )
    bias = best.x[1:] - best.x[1:].mean() if biased else np.zeros(classes)
    return Calibration(float(best.x[0]), bias, prior)
