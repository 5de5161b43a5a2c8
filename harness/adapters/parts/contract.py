"""The adapter contract: one way to use unlabelled test data, fitted on arrays and nothing else.

An adapter sees expert logits of test images (and, where there are any, views, features, source logits), the
train counts and the experts' priors. It never sees a network, a loader or a test label. What knows the truth
(an oracle prior, the best expert) is a `TruthAdapter`, another type with another signature, so that no
ordinary adapter can ask for labels.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from jaxtyping import Float, Int

from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors

Counts = Int[np.ndarray, " classes"]
"""Training images of each class."""

Labels = Int[np.ndarray, " images"]

PerClass = Float[np.ndarray, " classes"]
"""One number a class."""

Prior = PerClass
"""A probability for each class; they sum to one."""

Weights = Float[np.ndarray, " experts"]
"""One number an expert."""

Logits = Float[np.ndarray, "images classes"]

Posteriors = Float[np.ndarray, "images classes"]
"""A probability for each class, for each image."""

Ratios = Float[np.ndarray, "images classes"]
"""Posteriors, each divided by the prior of its class: likelihoods up to a factor an image."""


class Fitted(Protocol):
    """A fitted adapter. `prior`: its estimate of the test label prior [C]; `weights`: over experts [E].

    It may have more that rows show: `preference` over experts [E], `mean_experts(evidence)`, experts run on an image.
    """

    @property
    def prior(self) -> Prior | None: ...

    @property
    def weights(self) -> Weights | None: ...

    def predict(self, evidence: Evidence) -> Logits:
        """Return the adapted logits of images."""
        ...


@dataclass(frozen=True)
class Mixture:
    """The posteriors behind an estimate by EM: softmax(slope * mean logits + bias), which hold under `prior`."""

    slope: float
    bias: PerClass
    prior: Prior


@dataclass(frozen=True)
class WeightedExperts:
    """Predicts the weighted sum of expert logits plus a bias per class: what most adapters come to.

    weights: [E]; bias: [C] added to every image's logits (zero where None); prior: the estimate behind it; mixture:
    what that rests on, where EM found it.
    """

    weights: Weights
    bias: PerClass | None = None
    prior: Prior | None = None
    mixture: Mixture | None = None

    def predict(self, evidence: Evidence) -> Logits:
        logits = np.einsum("nec,e->nc", evidence.logits, self.weights.astype(np.float32))
        if self.bias is not None:
            logits += self.bias.astype(np.float32)
        return logits


@dataclass(frozen=True)
class _Named(ABC):
    """What every adapter declares. Subclasses are frozen dataclasses; fields are options on the name."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    access: ClassVar[Access]
    """What it may know: of the test prior, of labels, of test images."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Optional parts of the evidence that it needs."""
    least_experts: ClassVar[int] = 1

    def missing(self, evidence: Evidence) -> str | None:
        """Return why this adapter does not apply to such evidence (one clause), or None if it does."""
        if evidence.logits.shape[1] < self.least_experts:
            return "a single expert leaves nothing to weight or choose"
        for part in self.reads:
            if getattr(evidence, part) is None or 0 in getattr(getattr(evidence, part), "shape", ()):
                return f"the evidence has no {part}"
        if "source" in self.reads and evidence.source is not None:
            found = np.bincount(evidence.source.labels, minlength=evidence.logits.shape[2])
            if not found.all():
                return f"its source has no image of class {int(found.argmin())}"
        return None


@dataclass(frozen=True)
class Adapter(_Named):
    """An adapter without access to test labels."""

    @abstractmethod
    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> Fitted:
        """Fit to the unlabelled test images in `evidence`; `counts` are the train counts [C].

        Raises ValueError where `missing` names a reason.
        """


@dataclass(frozen=True)
class TruthAdapter(_Named):
    """An upper reference that is told the test labels; its rows are never ranked with the others."""

    @abstractmethod
    def fit_with_truth(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, labels: Labels) -> Fitted:
        """Fit with the labels [N] of the images in `evidence`."""
