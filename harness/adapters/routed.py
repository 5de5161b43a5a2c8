"""Routed: RIDE's gates decide for each image how many experts vote.

Source: Wang et al., ICLR 2021, test time of stage 2 as in the released code. Every image is shown to expert 0; as
long as sigmoid of gate i is above `threshold` it is also shown to expert i+1, and an image that stopped stays stopped.
Equation: z = the mean of the logits of the experts that were run, each image's own.
The gates were evaluated for all images beforehand; `used` says how many experts each image would have cost. A row's
`macs` are the network's with all experts run; `python -m harness.route` counts those that were run.
Failures: made to save compute, not to raise accuracy: expect slightly less than `mean`. The gates were trained on
training images, which the experts get right more often than test images; nothing holds the share that goes on fixed.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int
from scipy.special import expit

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Logits
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_finite
from methods.core.priors import ExpertPriors


@dataclass(frozen=True)
class RoutedExperts:
    """Predicts the mean of the experts that the gates let an image reach; learns nothing from test images."""

    threshold: float
    prior: None = None
    weights: None = None

    def used(self, evidence: Evidence) -> Int[np.ndarray, " images"]:
        """Return the number of experts run on each image, 1..E, [N]. Raises ValueError for unusable gate logits."""
        images, experts, _ = evidence.logits.shape
        gates = evidence.gate_logits
        if gates is None or gates.shape != (images, experts - 1):
            found = "none" if gates is None else f"shape {gates.shape}"
            raise ValueError(f"gate logits must be [{images}, {experts - 1}], not {found}")
        check_finite(gates, "gate logits", image_axis=0)
        # an image that stopped never goes on: the product over gates stays zero
        passed = np.cumprod(expit(gates.astype(np.float64)) > self.threshold, axis=1)
        return 1 + passed.sum(axis=1)

    def mean_experts(self, evidence: Evidence) -> float:
        """Return the mean number of experts run on an image."""
        return float(self.used(evidence).mean())

    def predict(self, evidence: Evidence) -> Logits:
        """Return the mean logits [N, C] of the experts run. Raises ValueError for unusable gate logits."""
        used = self.used(evidence)
        run = np.arange(evidence.logits.shape[1]) < used[:, None]
        return np.einsum("nec,ne->nc", evidence.logits, (run / used[:, None]).astype(np.float32))


@dataclass(frozen=True)
class Routed(Adapter):
    """The mean of as many experts as the gates ask for."""

    name: ClassVar[str] = "routed"
    version: ClassVar[int] = 2
    access: ClassVar[Access] = Access("none", "none", "inductive")
    reads: ClassVar[tuple[str, ...]] = ("gate_logits",)
    least_experts: ClassVar[int] = 2
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must lie in 0..1, not {self.threshold}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> RoutedExperts:
        """Return the gates with their threshold.

        Raises ValueError for logits or gate logits that are missing or not finite.
        """
        check_evidence(self, evidence)
        fitted = RoutedExperts(self.threshold)
        fitted.used(evidence)
        return fitted
