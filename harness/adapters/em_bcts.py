"""EM after bias-corrected temperature scaling: calibrate on source images, then estimate the prior.

Source: Alexandari, Kundaje and Shrikumar, ICML 2020 (calibrated EM); Saerens et al., Neural Computation 2002 (EM).
Equation: z' = a z + b fitted on the source (`harness.adapters.parts.calibration`), posteriors softmax(z') under the
class prior s of the source; EM with reference and start s; prediction z' + log q - log s, logarithms clipped at 1e-12.
`bias=false` fits the temperature alone. It cannot move posteriors to another prior, so z is first corrected from
target_prior(expert_priors) to s: then z' = a (z + log s - log target_prior).
Failures: maximum likelihood overfits where classes are many and images few, and a class that EM gives up on is lost.
A temperature alone halves EM's error on networks of balanced data (Alexandari et al.); on networks of long-tailed data
it is the bias that does (TV on CIFAR100-LT's SADE, dirichlet-1: .275 EM, .332 temperature, .141 BCTS).
Source images of the head class were trained on (`source_seen` on the row), where the network is surer than on others.

Access: labelled source images beyond the training set, which the published adapters did not have.
"""

from dataclasses import dataclass
from typing import ClassVar

from harness.adapters.parts.calibration import calibrated, tempered
from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, WeightedExperts
from harness.adapters.parts.likelihood import under_likeliest_prior
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors, target_prior


@dataclass(frozen=True)
class EmBcts(Adapter):
    """EM on calibrated posteriors with the source prior as reference and start."""

    name: ClassVar[str] = "em_bcts"
    version: ClassVar[int] = 2
    access: ClassVar[Access] = Access("estimated", "source", "transductive")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    bias: bool = True

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Calibrate on the source, estimate the prior of the images; `seed` is not used.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        check_evidence(self, evidence, expert_priors)
        assert evidence.source is not None  # `missing` refused it
        source = evidence.source
        calibration = calibrated(source) if self.bias else tempered(source, target_prior(expert_priors))
        return under_likeliest_prior(evidence, calibration)
