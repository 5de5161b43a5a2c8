"""LAME: the answers of a batch are moved so that images with near features get the same.

Source: Boudiaf, Mueller, Ben Ayed and Bertinetto, "Parameter-Free Online Test-Time Adaptation", CVPR 2022, with the
constants of its released code.
Equation: for each batch Y <- softmax(log(p + 1e-10) + K Y) from Y = p on, at most 100 steps, until the energy sum [-Y
log p - Y (K Y) + Y log Y] changes by no more than 1e-8 of itself. p is the softmax of the mean logits; K_ij = 1 for the
`neighbours` images j of the batch that are nearest to i (itself excluded; K is not symmetric), by the mean over experts
of the cosine of their features.
Prediction: log Y, clipped at 1e-12.
Known at batch t: features and logits of batch t alone.
Failures: on mixed batches there are hardly neighbours of one class, and answers are drawn to the batch's most frequent
ones (SADE on the embedded data, uniform set: 72.4 to 61.1 %). It is for streams in which classes come one after the
other (`order=class_correlated`: 85.6 %).

Access: features (`--features`, or those of a file); no label and no prior.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32
from scipy.sparse import csr_array
from scipy.special import softmax, xlogy

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Posteriors
from harness.adapters.parts.last_layer import Answered, unit
from harness.adapters.parts.streams import Arriving
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_finite
from methods.core.priors import LOG_FLOOR, ExpertPriors

STEPS = 100
_TOLERANCE = 1e-8
_ADDED = 1e-10


@dataclass(frozen=True)
class Lame(Arriving, Adapter):
    """Answers of a batch that agree among neighbours."""

    name: ClassVar[str] = "lame"
    access: ClassVar[Access] = Access("none", "none", "stream")
    reads: ClassVar[tuple[str, ...]] = ("features",)

    neighbours: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, not {self.neighbours}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> Answered:
        """Answer batch by batch; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason and for logits or features that are not finite.
        """
        images, _, classes = check_evidence(self, evidence, expert_priors)
        features = evidence.features
        assert features is not None  # `missing` refused it
        check_finite(features, "features", image_axis=0)
        logits = np.empty((images, classes), np.float32)
        for part in self.batches(images):
            posteriors = softmax(evidence.logits[part].mean(axis=1, dtype=np.float64), axis=1)
            near = nearest(unit(features[part]).reshape(len(posteriors), -1), self.neighbours)
            logits[part] = np.log(np.maximum(agreed(posteriors, near), LOG_FLOOR))
        return Answered(logits)


def nearest(features: Float32[np.ndarray, "images dim"], neighbours: int) -> csr_array:
    """Return K: 1 for the neighbours of each image with the largest inner product, itself excluded; fewer of few."""
    images = len(features)
    count = min(neighbours, images - 1)
    if count == 0:
        return csr_array((images, images), dtype=np.float64)
    near = features @ features.T
    np.fill_diagonal(near, -np.inf)
    columns = np.argpartition(-near, count - 1, axis=1)[:, :count]
    return csr_array((np.ones(columns.size), (np.repeat(np.arange(images), count), columns.ravel())), near.shape)


def agreed(posteriors: Posteriors, near: csr_array) -> Posteriors:
    """Return Y where its steps end."""
    unary = -np.log(posteriors + _ADDED)
    answers, before = posteriors, np.nan
    for _ in range(STEPS):
        pairs: Float[np.ndarray, "images classes"] = near @ answers
        answers = softmax(pairs - unary, axis=1)
        energy = float((answers * unary - answers * (near @ answers) + xlogy(answers, answers)).sum())
        if abs(energy - before) <= _TOLERANCE * abs(before):
            break
        before = energy
    return np.asarray(answers)
