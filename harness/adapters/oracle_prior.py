"""Prior correction with the true test prior: what a perfect prior estimate would give.

Source: Saerens et al. 2002 (the correction); LADE (Hong et al., CVPR 2021) and BalPoE print such oracle rows.
Equation: z + log q_true - log target_prior, where z is the mean of expert logits, q_true the drawn set's
realised counts / n, and logarithms are of values clipped at 1e-12.
Failures: an upper reference only where `target_prior` is exact and the posteriors are calibrated; elsewhere a
fitted adapter can exceed it. A class that is absent from the draw is all but excluded.

Access: the prior is known beforehand and images are answered one at a time, hence `inductive`; what it knows
too much is declared as `prior = oracle`. No label of any single image is used, only their counts.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Counts, Labels, TruthAdapter, WeightedExperts
from harness.adapters.parts.correction import corrected_mean
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_labels
from methods.core.priors import ExpertPriors, normalise


@dataclass(frozen=True)
class OraclePrior(TruthAdapter):
    """Mean logits under the true test prior."""

    name: ClassVar[str] = "oracle_prior"
    access: ClassVar[Access] = Access("oracle", "none", "inductive")

    def fit_with_truth(
        self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, labels: Labels
    ) -> WeightedExperts:
        """Read the prior off the counts of `labels`. Raises ValueError for unusable logits or labels."""
        images, _, classes = check_evidence(self, evidence, expert_priors)
        check_labels(labels, images, classes)
        return corrected_mean(evidence, expert_priors, normalise(np.bincount(labels, minlength=classes)))
