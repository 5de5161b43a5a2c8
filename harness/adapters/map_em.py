"""EM with a Dirichlet prior on the test prior: expected counts with a - 1 images added to each class.

Source: Saerens et al., Neural Computation 2002 (EM); the mode under a Dirichlet(a) prior is the textbook one.
Equation: q_c proportional to sum_i r_ic + a - 1 with responsibilities r_ic proportional to P_ic q_c / s_c, where P is
the softmax of the mean logits and s = target_prior(expert_priors), also the start; a = 2.
Prediction: mean logits + log q - log target_prior, logarithms clipped at 1e-12.
Failures: those of `em` (it trusts posteriors that are not calibrated). The pull towards the uniform prior is one image
a class: it keeps rare classes alive, and matters where images are few and classes many.
"""

from dataclasses import dataclass
from typing import ClassVar

from harness.adapters.parts.calibration import uncalibrated
from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, WeightedExperts
from harness.adapters.parts.likelihood import under_likeliest_prior
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors


@dataclass(frozen=True)
class MapEm(Adapter):
    """EM for the mode under a symmetric Dirichlet(a) prior; a = 1 is `em`."""

    name: ClassVar[str] = "map_em"
    access: ClassVar[Access] = Access("estimated", "none", "transductive")

    a: float = 2.0

    def __post_init__(self) -> None:
        if self.a < 1:
            raise ValueError(f"a must be at least 1, not {self.a}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Estimate the prior of the images in `evidence`; nothing is random, so `seed` is not used.

        Raises ValueError for logits that are not finite and priors that do not belong to them.
        """
        check_evidence(self, evidence, expert_priors)
        return under_likeliest_prior(evidence, uncalibrated(expert_priors), added=self.a - 1)
