"""Equal weights: the mean of expert logits, no adaptation; the reference row.

Source: the aggregation of RIDE (Wang et al., ICLR 2021), SADE without adaptation and BalPoE.
Equation: z = (1/E) sum_e z_e. It answers for normalise(prod_e p_e^{1/E}), which for SADE's experts is about
pi^(-1/3) and not the uniform prior.
Failures: none of its own: it uses no test data, so it gains nothing where the test prior moves.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, WeightedExperts
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors


@dataclass(frozen=True)
class Mean(Adapter):
    """The mean of expert logits."""

    name: ClassVar[str] = "mean"
    access: ClassVar[Access] = Access("none", "none", "inductive")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Return equal weights [E]. Raises ValueError for logits that are not finite."""
        _, experts, _ = check_evidence(self, evidence)
        return WeightedExperts(np.full(experts, 1 / experts))
