"""What the confusion-matrix estimators share: predictions of source and test images as frequencies (no adapter).

Source: Lipton, Wang and Smola, "Detecting and Correcting for Label Shift with Black Box Predictors", ICML 2018.
With class-conditional images unchanged, the frequency of predictions on test images is A w for A = joint
P(prediction, label) on the source and w_c = q_c / s_c, the test prior over the source's. `hard` predictions are the
argmax, `soft` ones the softmax of the mean of expert logits; the relation holds for both, calibrated or not.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, PerClass, Posteriors, Prior, WeightedExperts
from harness.adapters.parts.correction import corrected_mean
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence, Source
from harness.evidence.check import check_finite
from methods.core.priors import ExpertPriors, normalise
from shifts.common.blocks import row_blocks

Kind = Literal["soft", "hard"]


@dataclass(frozen=True, eq=False)
class Confusion:
    """joint: P(prediction, label) on the source [C, C]; prior: its class shares s [C]; images: how many.

    Columns of `joint` sum to `prior`, rows to the frequency of each prediction.
    """

    joint: Float[np.ndarray, "predictions classes"]
    prior: Prior
    images: int

    @cached_property
    def inverse(self) -> Float[np.ndarray, "classes predictions"]:
        """What frequencies of predictions are multiplied with: the inverse of `joint`, or the pseudo-inverse."""
        smallest = np.finfo(np.float64).eps * len(self.joint)
        try:
            inverse = np.linalg.inv(self.joint)
        except np.linalg.LinAlgError:
            inverse = np.full_like(self.joint, np.inf)
        # Five times as fast as the pseudo-inverse, and the same where nothing is near to singular.
        if np.linalg.norm(self.joint, 1) * np.linalg.norm(inverse, 1) * smallest < 1:
            return inverse
        return np.linalg.pinv(self.joint, rcond=smallest)

    def ratios(self, found: Float[np.ndarray, " predictions"]) -> PerClass:
        """Return w [C] with joint w = `found`, frequencies of predictions on test images: that nearest to 1."""
        # einsum, not BLAS: a product a batch is too small for threads (`shifts.common.blocks`).
        return 1 + np.einsum("cp,p->c", self.inverse, found - self.joint.sum(axis=1))

    def nearest_prior(self, values: PerClass) -> Prior:
        """Return normalise(max(values, 0)) for an estimate s w; s itself where nothing is left above zero.

        The latter needs hard predictions on the test images that no source image gets.
        """
        kept = np.maximum(values, 0)
        return normalise(kept) if kept.any() else self.prior


@dataclass(frozen=True)
class ConfusionAdapter(Adapter):
    """Mean logits under a prior that `ratios` finds; subclasses differ in how they invert the confusion matrix."""

    access: ClassVar[Access] = Access("estimated", "source", "transductive")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    kind: Kind = "soft"

    def __post_init__(self) -> None:
        if self.kind not in ("soft", "hard"):
            raise ValueError(f"kind must be soft or hard, not {self.kind!r}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Estimate the prior of the images in `evidence`; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        images, _, _ = check_evidence(self, evidence, expert_priors)
        assert evidence.source is not None  # `missing` refused it
        source = confusion(evidence.source, self.kind)
        ratios = self.ratios(source, frequencies(evidence.logits, self.kind), images)
        return corrected_mean(evidence, expert_priors, source.nearest_prior(source.prior * ratios))

    @abstractmethod
    def ratios(self, source: Confusion, found: Float[np.ndarray, " predictions"], images: int) -> PerClass:
        """Return w [C], of test over source prior, from the frequency of each prediction on `images` test images."""


def predictions(logits: Float[np.ndarray, "images experts classes"], kind: Kind) -> Posteriors:
    """Return those of the mean of expert logits: rows that sum to one (soft) or hold a single one (hard); float64."""
    mean = logits.mean(axis=1, dtype=np.float64)
    if kind == "hard":
        return (np.arange(mean.shape[1]) == mean.argmax(axis=1)[:, None]).astype(np.float64)
    return np.asarray(softmax(mean, axis=1))


def frequencies(logits: Float[np.ndarray, "images experts classes"], kind: Kind) -> Float[np.ndarray, " predictions"]:
    """Return the mean of `predictions` over images."""
    images, experts, classes = logits.shape
    blocks = row_blocks(images, experts * classes)
    return np.sum([predictions(logits[rows], kind).sum(axis=0) for rows in blocks], axis=0) / images


@lru_cache(maxsize=2)
def confusion(source: Source, kind: Kind) -> Confusion:
    """Return the confusion matrix of the source images; kept for as long as the same source is used.

    Raises ValueError for source logits that are not finite.
    """
    images, experts, classes = source.logits.shape
    check_finite(source.logits, "source logits", image_axis=0)
    by_class = np.zeros((classes, classes))
    for rows in row_blocks(images, experts * classes):
        for label, row in zip(source.labels[rows], predictions(source.logits[rows], kind), strict=True):
            by_class[label] += row
    return Confusion(by_class.T / images, normalise(np.bincount(source.labels, minlength=classes)), images)
