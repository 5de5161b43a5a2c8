"""The calibrated mean of expert logits, no adaptation: the control of adapters that use source images.

Source: Alexandari, Kundaje and Shrikumar, ICML 2020 (bias-corrected temperature scaling).
Equation: z' = a z + b fitted on the source (`harness.adapters.parts.calibration`), for every image alike; it answers
for the class prior s of the source. What another adapter gains over this row comes from the test images, what this row
gains over `mean` from the source labels.
Failures: none of its own; it uses no test data.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.calibration import calibrated
from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, WeightedExperts
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors


@dataclass(frozen=True)
class Calibrated(Adapter):
    """Bias-corrected temperature scaling of the mean of expert logits."""

    name: ClassVar[str] = "calibrated"
    version: ClassVar[int] = 2
    access: ClassVar[Access] = Access("none", "source", "inductive")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Calibrate on the source. Raises ValueError where `missing` names a reason or logits are not finite."""
        _, experts, _ = check_evidence(self, evidence)
        assert evidence.source is not None  # `missing` refused it
        made = calibrated(evidence.source)
        return WeightedExperts(np.full(experts, made.slope / experts), bias=made.bias)
