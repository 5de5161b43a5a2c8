"""Black-box shift estimation: the test prior whose predictions, seen through the confusion matrix, are those found.

Source: Lipton, Wang and Smola, ICML 2018; soft predictions as in Azizzadenesheli et al., ICLR 2019.
Equation: A w = q_pred with A = P(prediction, label) on the source and q_pred the mean prediction on the test images;
q = normalise(max(s w, 0)) with s the source prior. Of several solutions the one nearest to w = 1 (no shift).
Prediction: mean logits + log q - log target_prior, logarithms clipped at 1e-12.
`kind`: `soft` by default. Soft predictions use what the argmax throws away, and estimate better in the published
comparisons (Garg et al., NeurIPS 2020; Alexandari et al., ICML 2020), though the guarantee of 2018 is for hard ones.
Failures: it inverts A, so noise grows where classes are confused: unbiased, but of high variance with few images;
classes that come out below zero are set to zero and are then lost to the prediction.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from harness.adapters.base import Adapter, Evidence, LabelAccess, PriorAccess, TestAccess, WeightedExperts
from harness.adapters.check import check_evidence
from harness.adapters.confusion import Kind, check_kind, confusion, corrected_mean, predictions
from methods.priors import ExpertPriors


@dataclass(frozen=True)
class Bbse(Adapter):
    """Least-squares inversion of the confusion matrix."""

    name: ClassVar[str] = "bbse"
    prior_access: ClassVar[PriorAccess] = "estimated"
    label_access: ClassVar[LabelAccess] = "source"
    test_access: ClassVar[TestAccess] = "transductive"
    reads: ClassVar[tuple[str, ...]] = ("source",)

    kind: Kind = "soft"

    def __post_init__(self) -> None:
        check_kind(self.kind)

    def fit(
        self,
        evidence: Evidence,
        counts: Int[np.ndarray, " classes"],
        expert_priors: ExpertPriors,
        seed: int,
    ) -> WeightedExperts:
        """Estimate the prior of the images in `evidence`; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        check_evidence(self, evidence, expert_priors)
        assert evidence.source is not None  # `missing` refused it
        source = confusion(evidence.source, self.kind)
        found = predictions(evidence.logits, self.kind).mean(axis=0)
        return corrected_mean(evidence, expert_priors, source.nearest_prior(source.prior * source.ratios(found)))
