"""EM estimate of the test label prior, then prior correction of the mean logits.

Source: Saerens, Latinne and Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori
Probabilities", Neural Computation 2002.
Equation: with posteriors P_ic that hold under a reference prior s, q = the limit of q_c = mean_i r_ic with r_ic
proportional to P_ic q_c / s_c, which is the prior under which the images are most likely; found without its iterations
(`harness.adapters.parts.likelihood`). Here P is the softmax of the mean logits and s target_prior(expert_priors), the
prior that the mean answers for.
Prediction: mean logits + log q - log target_prior, logarithms of values clipped at 1e-12.
Failures: it trusts the posteriors. With a wrong reference the estimate is wrong (on simulated Bayes-optimal
SADE experts, C = 20, a uniform reference gives TV errors .41/.32/.20 on forward/uniform/backward, the derived
one about .015), and on over-confident networks it hurts (eleven-shift mean 48.2 -> 46.4 %): calibrate first.
Priors of experts trained with mixup or margins are approximate, and the estimate with them. A class that it gives up
on is all but impossible, so each of its images costs about 28 nats: the NLL tells of little else.
Version 1 stopped EM at a change below 1e-6, before such classes were gone: the same accuracy, a lower NLL by chance.
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
class Em(Adapter):
    """EM estimate of the test prior with the derived target prior as reference and start."""

    name: ClassVar[str] = "em"
    version: ClassVar[int] = 2
    access: ClassVar[Access] = Access("estimated", "none", "transductive")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Estimate the prior of the images in `evidence`; nothing is random, so `seed` is not used.

        Raises ValueError for logits that are not finite and priors that do not belong to them.
        """
        check_evidence(self, evidence, expert_priors)
        return under_likeliest_prior(evidence, uncalibrated(expert_priors))
