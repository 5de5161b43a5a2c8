"""SADE's test-time self-supervised aggregation: expert weights under which two views of an image agree.

Source: Zhang et al., "Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed
Recognition", NeurIPS 2022, section 4.2, and its released code.
Equation: w = softmax(v); minimise over v the batch mean of -cos(softmax(sum_e w_e z_e^1), softmax(sum_e w_e
z_e^2)), where z_e^1 and z_e^2 are expert e's logits of two random views. The paper writes the inner product
of the two (`objective=inner`), the released code the cosine (`cosine`, default).
Procedure: v starts equal; SGD with learning rate 0.1, momentum 0.9 (Nesterov), weight decay 5e-4; batches of
128, shuffled each epoch, the last one smaller; 5 epochs, epoch e on view pair e mod K; stops after an epoch
in which a weight, rounded to two decimals, is below 0.05. The equal start value cancels in the softmax, so it
is zero here.
Failures: nothing ties agreement to accuracy. The weights can drift to an expert that is stable and wrong:
users report 87 -> 38 % on a 3-class set, and on a briefly trained CIFAR-100 network all weight moved to the
backward expert (30.9 -> 4.8 % on forward-50). Three weights move along the class-frequency axis only, so
shifts that ignore it gain nothing. `harness.measures.metrics.view_stability` shows whether the premise holds.

The network is frozen, so a fit is indexing into cached logits and a closed-form gradient with E numbers.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Float32

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, WeightedExperts, Weights
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_finite
from methods.core.priors import ExpertPriors, target_prior

Objective = Literal["cosine", "inner"]

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
BATCH = 128
LOWEST_WEIGHT = 0.05


@dataclass(frozen=True)
class Sade(Adapter):
    """Expert weights learned from the agreement of views."""

    name: ClassVar[str] = "sade"
    access: ClassVar[Access] = Access("none", "none", "transductive")
    reads: ClassVar[tuple[str, ...]] = ("views",)
    least_experts: ClassVar[int] = 2

    objective: Objective = "cosine"
    epochs: int = 5

    def __post_init__(self) -> None:
        check_objective(self.objective)
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Learn the weights on all images of `evidence`; `seed` decides the shuffles.

        The prior that the weights imply is target_prior(expert_priors, weights).
        Raises ValueError where `missing` names a reason or logits or views are not finite.
        """
        images, experts, classes = check_evidence(self, evidence, expert_priors)
        views = check_views(evidence)
        # [K, 2 * images * experts, C], so that a batch is one gather.
        rows = np.ascontiguousarray(views, dtype=np.float32).reshape(len(views), -1, classes)
        weights = _learn(rows, images, experts, seed, self.objective, self.epochs)
        return WeightedExperts(weights, prior=target_prior(expert_priors, weights))


def check_objective(objective: str) -> None:
    """Raise ValueError unless agreement can be measured so."""
    if objective not in ("cosine", "inner"):
        raise ValueError(f"objective must be cosine or inner, not {objective!r}")


def check_views(evidence: Evidence) -> Float[np.ndarray, "pairs 2 images experts classes"]:
    """Return the views of evidence that has some.

    Raises ValueError for views that have another shape than the logits or are not finite.
    """
    views = evidence.views
    assert views is not None  # `missing` refused it
    if views.ndim != 5 or views.shape[1:] != (2, *evidence.logits.shape):
        raise ValueError(f"views of shape {views.shape} do not belong to logits {evidence.logits.shape}")
    check_finite(views, "views", image_axis=2)
    return views


def _learn(
    rows: Float32[np.ndarray, "pairs rows classes"],
    images: int,
    experts: int,
    seed: int,
    objective: Objective,
    epochs: int,
) -> Weights:
    generator = np.random.default_rng(seed)
    # Row of (expert, view, image 0); experts come first, so that the weighted sum runs over long vectors.
    first = (np.arange(experts)[:, None] + np.arange(2) * images * experts)[:, :, None]
    values, velocity = np.zeros(experts), np.zeros(experts)
    for epoch in range(epochs):
        pair = rows[epoch % len(rows)]
        order = generator.permutation(images) * experts
        for start in range(0, len(order), BATCH):
            logits = pair.take(first + order[start : start + BATCH], axis=0)
            values, velocity = sgd_step(values, velocity, logits, objective)
        if must_stop(on_simplex(values)):
            break
    return on_simplex(values)


def sgd_step(
    values: Weights,
    velocity: Weights,
    logits: Float32[np.ndarray, "experts 2 batch classes"],
    objective: Objective,
) -> tuple[Weights, Weights]:
    """Return v and its velocity [E] after one step of SGD with Nesterov momentum on a batch's two views."""
    weights = on_simplex(values)
    slope = agreement_slope(logits, weights, objective)
    gradient = -weights * (slope - weights @ slope) + WEIGHT_DECAY * values
    velocity = MOMENTUM * velocity + gradient
    return values - LEARNING_RATE * (gradient + MOMENTUM * velocity), velocity


def must_stop(weights: Weights) -> bool:
    """Return whether a weight, rounded to two decimals, is below 0.05."""
    return bool((np.round(weights, 2) < LOWEST_WEIGHT).any())


def agreement_slope(
    logits: Float32[np.ndarray, "experts 2 batch classes"],
    weights: Weights,
    objective: Objective,
) -> Weights:
    """Return the derivative of the batch mean of the two views' agreement by the weights [E]; float32 inside.

    With p = softmax(a), a = sum_e w_e z_e: for the inner product d/da1 = p1 * (p2 - p1.p2); the cosine
    ignores the scale of p, so there d/da1 = p1 * (p2 / (|p1||p2|) - cos * p1 / |p1|^2), and p need not be
    normalised.
    """
    # einsum, not BLAS: the same bits whatever the number of threads.
    mixed = np.einsum("e,evbc->vbc", weights.astype(np.float32), logits)
    mixed -= mixed.max(axis=-1, keepdims=True)
    answers = np.exp(mixed, out=mixed)
    if objective == "inner":
        answers /= np.einsum("vbc->vb", answers)[:, :, None]
        product = np.einsum("bc,bc->b", answers[0], answers[1])
        slope = answers[::-1] - product[:, None]
    else:
        squares = np.einsum("vbc,vbc->vb", answers, answers)
        norms = np.sqrt(squares[0] * squares[1])
        cosine = np.einsum("bc,bc->b", answers[0], answers[1]) / norms
        slope = answers[::-1] / norms[:, None]
        slope -= answers * (cosine / squares)[:, :, None]
    slope *= answers
    by_image = np.einsum("evbc,vbc->eb", logits, slope)
    return np.asarray(by_image.mean(axis=1, dtype=np.float64))


def on_simplex(values: Weights) -> Weights:
    """Return the weights w = softmax(v), [E]."""
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())
