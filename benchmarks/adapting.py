"""Adapting to a test set: our estimators beside the procedures as they are published, at three sizes.

Logits are made up and have the structure of classes: images are points around the centre of their class, centres lie
around those of groups of ten, and the logits are too sure of themselves and biased by class.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from benchmarks.parts import Line, Work
from harness.adapters.parts.calibration import bias_corrected_temperature_scaling, uncalibrated
from harness.adapters.parts.likelihood import likeliest_prior
from harness.adapters.stream_history import StreamHistory
from harness.evidence.arrays import Evidence, Source
from methods.core.priors import ExpertPriors, normalise

SIZES = {"": (2500, 125), "4x images": (10_000, 125), "4x classes": (2500, 500)}
"""Images and classes; the first is what the others are compared with."""
BATCH, DIM, PER_CLASS = 64, 32, 5


@dataclass(frozen=True)
class Scene:
    """Test images of a long-tailed set and class-balanced source images, of one expert."""

    evidence: Evidence
    priors: ExpertPriors

    @property
    def source(self) -> Source:
        """The labelled images."""
        assert self.evidence.source is not None
        return self.evidence.source

    @property
    def fresh(self) -> Evidence:
        """The evidence with a source of which nothing is remembered."""
        return replace(self.evidence, source=replace(self.source))


def scene(images: int, classes: int) -> Scene:
    """Make up a scene."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes // 10 + 1, DIM))[np.arange(classes) // 10] + 0.7 * rng.normal(
        size=(classes, DIM)
    )
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    bias = 0.5 * rng.normal(size=classes)

    def logits(labels: np.ndarray) -> np.ndarray:
        points = centres[labels] + 0.25 * rng.normal(size=(len(labels), DIM))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        return (30 * points @ centres.T + bias).astype(np.float32)[:, None]

    tailed = normalise(50.0 ** -np.linspace(0, 1, classes))
    known = np.arange(PER_CLASS * classes) % classes
    source = Source(logits(known), known, 0)
    return Scene(
        Evidence(logits(rng.choice(classes, size=images, p=tailed)), source=source),
        ExpertPriors(np.full((1, classes), 1 / classes), exact=False),
    )


def adapting(work: Work) -> list[Line]:
    """Time the likeliest prior, calibration and the estimates of a stream, ours and as published."""
    lines = []
    for name, size in SIZES.items():
        made = scene(*size)
        for part, variants in estimators(made).items():
            label = f"{part} {name}".rstrip()
            lines += work.lines(label, {variant: ("fp32", run) for variant, run in variants.items()}, size[0], 0.0)
    return lines


def estimators(made: Scene) -> dict[str, dict[str, Callable[[], np.ndarray]]]:
    """Return, by part, the published procedure and ours; both return the same numbers, nearly."""
    calibration, logits = uncalibrated(made.priors), made.source.logits[:, 0]
    counts = np.ones(logits.shape[1], int)
    return {
        "prior": {
            "reference": lambda: iterated(softmax(made.evidence.logits.mean(1, dtype=float), 1), calibration.prior),
            "ours": lambda: likeliest_prior(calibration.ratios(made.evidence), calibration.prior),
        },
        "BCTS": {
            "reference": lambda: lbfgs(logits, made.source.labels),
            "ours": lambda: bias_corrected_temperature_scaling(logits, made.source.labels).bias,
        },
        "stream": {
            "reference": lambda: inverted(made.evidence.logits, made.source, calibration.prior),
            "ours": lambda: StreamHistory().fit(made.fresh, counts, made.priors, 0).prior,
        },
    }


def iterated(posteriors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return EM's prior after as many steps as change it by 1e-6, at most 1,000."""
    prior = reference
    for _ in range(1000):
        joint = posteriors / reference * prior
        before, prior = prior, (joint / joint.sum(1, keepdims=True)).mean(0)
        if np.abs(prior - before).max() < 1e-6:
            break
    return prior


def lbfgs(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the bias of BCTS by a quasi-Newton method over all parameters."""
    scores, rows = logits.astype(float), np.arange(len(labels))
    shares = np.bincount(labels) / len(labels)

    def nll(values: np.ndarray) -> tuple[float, np.ndarray]:
        answers = log_softmax(values[0] * scores + values[1:], axis=1)
        powers = np.exp(answers)
        slope = ((powers * scores).sum(1) - scores[rows, labels]).mean()
        return float(-answers[rows, labels].mean()), np.concatenate([[slope], powers.mean(0) - shares])

    start = np.concatenate([[1.0], np.zeros(scores.shape[1])])
    options: Any = {"maxiter": 1000, "maxfun": 1000, "ftol": 1e-12, "gtol": 1e-6}
    bias = minimize(nll, start, jac=True, method="L-BFGS-B", options=options).x[1:]
    return np.asarray(bias - bias.mean())


def inverted(logits: np.ndarray, source: Source, start: np.ndarray) -> np.ndarray:
    """Return the mean of black-box estimates, a least-squares problem a batch."""
    classes = logits.shape[2]
    joint = softmax(source.logits.mean(1, dtype=float), 1).T @ np.eye(classes)[source.labels] / len(source.labels)
    prior, estimates = np.bincount(source.labels) / len(source.labels), [start]
    for first in range(0, len(logits), BATCH):
        found = softmax(logits[first : first + BATCH].mean(1, dtype=float), 1).mean(0)
        estimates.append(prior * (1 + np.linalg.lstsq(joint, found - joint.sum(1))[0]))
    return normalise(np.maximum(np.mean(estimates, axis=0), 0))


def growth(seconds: dict[tuple[str, str], float]) -> dict[str, float]:
    """Return how many times as long each of our parts takes for four times the images, or the classes."""
    found = {}
    for (part, variant), spent in seconds.items():
        for name in SIZES:
            base = part.removesuffix(f" {name}")
            if name and variant == "ours" and base != part and (base, variant) in seconds:
                found[f"{base}, time for {name}"] = spent / seconds[base, variant]
    return found
