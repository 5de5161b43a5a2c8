"""Prior correction with the true prior of each batch: what perfect estimates of batches would give a stream.

Source: the oracle rows of papers on online label shift (Wu et al., NeurIPS 2021; Bai et al., NeurIPS 2022).
Equation: z + log q_t - log target_prior for the images of batch t, with z the mean of expert logits, q_t the class
shares of the batch itself, and logarithms of values clipped at 1e-12.
Failures: those of `oracle_prior`. A batch of 64 images holds few of a hundred classes, and knowing which is worth far
more than any estimate of a prior that moves slowly: a bound, and not a near one. `stream_hindsight` is the other.

Access: of each batch the counts of its labels, before it is answered.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Counts, Labels, TruthAdapter
from harness.adapters.parts.correction import prior_correction
from harness.adapters.parts.streams import Arriving, StreamFitted
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_labels
from methods.core.priors import ExpertPriors, normalise, target_prior


@dataclass(frozen=True)
class StreamOracle(Arriving, TruthAdapter):
    """Mean logits under the true prior of each batch."""

    name: ClassVar[str] = "stream_oracle"
    access: ClassVar[Access] = Access("oracle", "none", "stream")

    def fit_with_truth(
        self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, labels: Labels
    ) -> StreamFitted:
        """Read the priors off the counts of `labels`. Raises ValueError for unusable logits or labels."""
        images, experts, classes = check_evidence(self, evidence, expert_priors)
        check_labels(labels, images, classes)
        answered, batches = target_prior(expert_priors), self.batches(images)
        priors = [normalise(np.bincount(labels[part], minlength=classes)) for part in batches]
        biases = np.stack([prior_correction(prior, answered) for prior in priors])
        equal = np.full(experts, 1 / experts)
        weights = np.broadcast_to(equal, (len(batches), experts))
        return StreamFitted(images, self.batch, weights, biases, equal, priors[-1])
