"""EM that gives a share of the mass to the uniform prior at each step, the share being found from EM's own estimate.

Source: Ye, Tsuchida, Petersson and Barnes, "Label Shift Estimation for Class-Imbalance Problem: A Bayesian Approach",
WACV 2024 (MAPLS), with the constants of its released code.
Equation: q_c <- lambda mean_i r_ic + (1 - lambda) / C with r_ic proportional to P_ic q_c / s_c, from q = s on, exactly
100 steps. lambda = .9 * 4 TU / (SU + 4 TU) + .1 * SU / (SU + 4 TS) with TU = KL(q0, u), TS = KL(q0, s), SU = KL(s, u),
u uniform and q0 the estimate of 100 steps of plain EM. 1e-8 is added to the second argument of each KL. Where s is
uniform SU is zero and the second term 0 / 0 on unshifted images: lambda is .9 there, its limit.
Prediction: mean logits + log q - log s.
`reference`: s is the derived target prior (`target`) or the class shares of the training set (`counts`, as the paper
has it for one network trained with cross-entropy; its other row, the mean posterior of training images, needs those).
Failures: those of `em` (posteriors that are not calibrated). Unlike `map_em` the pull is a fraction of the mass: it
does not vanish with more images, so a strong shift is underestimated however large the test set is. On SADE over the
eleven CIFAR100-LT sets it loses less than `em` does, but loses: 47.2 % (em 46.0, mean 48.8). `counts` is wrong for
every class-balanced loss (29.7 %).
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from harness.adapters.parts.calibration import uncalibrated
from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Prior, Ratios, WeightedExperts
from harness.adapters.parts.likelihood import mean_log_likelihood
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import LOG_FLOOR, ExpertPriors, normalise

Reference = Literal["target", "counts"]

STEPS = 100
_ADDED = 1e-8


@dataclass(frozen=True)
class Mapls(Adapter):
    """EM towards the uniform prior."""

    name: ClassVar[str] = "mapls"
    access: ClassVar[Access] = Access("estimated", "none", "transductive")

    reference: Reference = "target"

    def __post_init__(self) -> None:
        if self.reference not in ("target", "counts"):
            raise ValueError(f"reference must be target or counts, not {self.reference!r}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Estimate the prior of the images in `evidence`; nothing is random, so `seed` is not used.

        Raises ValueError for logits that are not finite and priors that do not belong to them.
        """
        _, experts, _ = check_evidence(self, evidence, expert_priors)
        posteriors = uncalibrated(expert_priors)
        if self.reference == "counts":
            posteriors = replace(posteriors, prior=normalise(counts))
        ratios = posteriors.ratios(evidence)
        kept = share(pulled(ratios, posteriors.prior, 1.0), posteriors.prior)
        return posteriors.corrected(experts, pulled(ratios, posteriors.prior, kept))


def share(estimate: Prior, reference: Prior) -> float:
    """Return lambda for plain EM's estimate q0 and the reference s."""
    uniform = np.full_like(estimate, 1 / len(estimate))
    shift, spread = divergence(estimate, uniform), divergence(reference, uniform)
    if spread == 0:
        return 0.9
    return 0.9 * 4 * shift / (spread + 4 * shift) + 0.1 * spread / (spread + 4 * divergence(estimate, reference))


def divergence(left: Prior, right: Prior) -> float:
    """Return KL(left, right) with 1e-8 added to `right`; zero where that makes it negative."""
    kept = left > 0
    return max(0.0, float(left[kept] @ np.log(left[kept] / (right[kept] + _ADDED))))


def pulled(ratios: Ratios, start: Prior, kept: float) -> Prior:
    """Return q after 100 steps of EM, each of which keeps the share `kept` of its answer; 1.0 is plain EM."""
    prior = np.maximum(normalise(start), LOG_FLOOR)
    for _ in range(STEPS):
        prior = kept * prior * mean_log_likelihood(ratios, prior)[1] + (1 - kept) / len(prior)
    return normalise(prior)
