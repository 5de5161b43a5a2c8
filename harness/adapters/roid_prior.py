"""The smoothed mean posterior of the test images, added to the logits as if it were their prior.

Source: Marsden, Dobler and Yang, "Universal Test-time Adaptation through Weight Ensembling, Diversity Weighting, and
Prior Correction", WACV 2024 (ROID), its prior correction alone, with the whole test set as one batch.
Equation: p~ = (p + g) / (1 + g C) with p the mean softmax of the mean logits over n images, g = max(1/n, 1/C) / max p;
prediction: mean logits + log p~. (The released code multiplies logits by p~, which is another thing; not that.)
Failures: it is no estimate of the test prior: the mean posterior is drawn towards the prior that the network answers
for, and no reference is divided out, so a network that leans towards the head leans twice. It is made for networks
trained on balanced classes. g keeps every class alive and the correction so small that hardly an answer changes: with a
hundred classes accuracy moves by .1 point.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.confusion import frequencies
from harness.adapters.parts.contract import Adapter, Counts, PerClass, Prior, WeightedExperts
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors


@dataclass(frozen=True)
class RoidPrior(Adapter):
    """Mean logits plus the logarithm of the smoothed mean posterior."""

    name: ClassVar[str] = "roid_prior"
    access: ClassVar[Access] = Access("estimated", "none", "transductive")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Take the mean posterior of the images in `evidence`; nothing is random, so `seed` is not used.

        Raises ValueError for logits that are not finite.
        """
        images, experts, _ = check_evidence(self, evidence, expert_priors)
        prior = smoothed(frequencies(evidence.logits, "soft"), images)
        return WeightedExperts(np.full(experts, 1 / experts), bias=np.log(prior), prior=prior)


def smoothed(mean: PerClass, images: int) -> Prior:
    """Return p~ for the mean posterior of `images` images."""
    added = max(1 / images, 1 / len(mean)) / mean.max()
    return np.asarray((mean + added) / (1 + added * len(mean)))
