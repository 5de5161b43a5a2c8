"""TENT over stored features: the last layer, or a scale and shift of features, that makes answers surer.

Source: Wang, Shelhamer, Liu, Olshausen and Darrell, "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR
2021, which moves the affine parameters of all BatchNorm layers; features are stored behind these, so here it is the
last layer (`on=head`) or a scale and shift of each of its inputs (`on=affine`).
Equation: for each batch a step of Adam (`rate`) down the mean entropy of softmax(mean over experts of logits).
Prediction: the mean logits as they were before the batch's own step, as in the released code.
Known at batch t: features of batches 1..t-1.
Failures: entropy falls fastest where a class takes all images; under label shift that is one that the network leans to,
and nothing stops it. On the embedded data it loses on uniform and backward sets (SADE 72.4 to 52.9 %, a single network
58.4 to 49.9 %); `on=affine` and `rate=0.0001` lose less because they move less. It gains on a forward set.

Access: features and classifiers (`--features`, or those of a file); no label and no prior.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Float32
from scipy.special import log_softmax

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Logits, Prior
from harness.adapters.parts.descent import Adam
from harness.adapters.parts.last_layer import Answered, usable_classifiers
from harness.adapters.parts.streams import Arriving
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.heads import Classifiers
from methods.core.priors import ExpertPriors, target_prior

Moved = Literal["head", "affine"]


@dataclass(frozen=True)
class TentHead(Arriving, Adapter):
    """Steps down the entropy of answers, one a batch."""

    name: ClassVar[str] = "tent_head"
    access: ClassVar[Access] = Access("none", "none", "stream")
    reads: ClassVar[tuple[str, ...]] = ("features", "classifiers")

    batch: int = 32
    on: Moved = "head"
    rate: float = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on not in ("head", "affine"):
            raise ValueError(f"on must be head or affine, not {self.on!r}")
        if self.rate <= 0:
            raise ValueError(f"rate must be above zero, not {self.rate}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> Answered:
        """Read the images once; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason and for parts that are not finite or of wrong shapes.
        """
        images, _, classes = check_evidence(self, evidence, expert_priors)
        classifiers, features = usable_classifiers(evidence)
        layer = MovedLayer(classifiers, self.on)
        optimiser, held = Adam(layer.parameters, self.rate), target_prior(expert_priors)
        logits = np.empty((images, classes), np.float32)
        for part in self.batches(images):
            logits[part] = layer.read(features[part])
            optimiser.step(layer.slopes(self.slope(log_softmax(logits[part], axis=1), held)))
        return Answered(logits)

    def slope(self, logs: Logits, held: Prior) -> Logits:
        """Return the gradient of the mean entropy by a batch's logits, of which `logs` is the log softmax.

        held: the prior that the mean of logits answers for; it is not used.
        """
        answers = np.exp(logs)
        entropies = -(answers * logs).sum(axis=1, keepdims=True)
        return np.asarray(-answers * (logs + entropies) / len(logs))


class MovedLayer:
    """The experts' last layer with `parameters` that can be moved: its own, or a scale and shift of features."""

    def __init__(self, classifiers: Classifiers, on: Moved) -> None:
        experts, dim, classes = classifiers.weights.shape
        biases, float32 = classifiers.biases, np.float32
        self.cosine, self.on = classifiers.scale, on
        self.weights = classifiers.weights.copy()
        self.biases = np.zeros((experts, classes), float32) if biases is None else biases.copy()
        self.scales, self.shifts = np.ones((experts, dim), float32), np.zeros((experts, dim), float32)
        self.parameters = [self.weights, self.biases] if on == "head" else [self.scales, self.shifts]

    def read(self, features: Float32[np.ndarray, "batch experts dim"]) -> Logits:
        """Return the mean over experts of a batch's logits."""
        self.features = features
        self.inside, self.used = features * self.scales + self.shifts, self.weights
        if self.cosine is not None:
            self.lengths, self.widths = _lengths(self.inside, -1), _lengths(self.weights, 1)
            self.inside, self.used = self.inside / self.lengths, self.cosine * self.weights / self.widths
        return np.asarray(np.einsum("bed,edc->bc", self.inside, self.used, optimize=True) / len(self.used)) + (
            self.biases.mean(axis=0)
        )

    def slopes(self, behind: Logits) -> list[Float[np.ndarray, "..."]]:
        """Return the gradient by each of `parameters`, given that by the logits of the batch that was read last."""
        behind = behind / len(self.used)
        if self.on == "head":
            weights = np.einsum("bed,bc->edc", self.inside, behind, optimize=True)
            if self.cosine is not None:
                own = self.used / self.cosine
                weights -= own * (own * weights).sum(axis=1, keepdims=True)
                weights *= self.cosine / self.widths
            return [weights, np.broadcast_to(behind.sum(axis=0), self.biases.shape)]
        inside = np.einsum("bc,edc->bed", behind, self.used, optimize=True)
        if self.cosine is not None:
            inside -= self.inside * (self.inside * inside).sum(axis=-1, keepdims=True)
            inside /= self.lengths
        return [(inside * self.features).sum(axis=0), inside.sum(axis=0)]


def _lengths(values: Float32[np.ndarray, "..."], axis: int) -> Float32[np.ndarray, "..."]:
    return np.maximum(np.linalg.norm(values, axis=axis, keepdims=True), 1e-12)
