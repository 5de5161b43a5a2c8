"""The best single expert on this test set, chosen with the test labels: an upper reference for choosing one.

Source: the single-expert rows of SADE's and RIDE's tables.
Equation: w is one-hot at argmax_e of expert e's top-1 accuracy on the drawn set; ties go to the lower index.
Failures: not an upper bound for weights between experts, which may do better than any single one.

Access: it needs every image of the set with its label, hence `transductive` and `labels = test`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Counts, Labels, TruthAdapter, WeightedExperts
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_labels
from methods.core.priors import ExpertPriors


@dataclass(frozen=True)
class BestExpert(TruthAdapter):
    """One-hot weights at the expert with the highest test accuracy."""

    name: ClassVar[str] = "best_expert"
    access: ClassVar[Access] = Access("none", "test", "transductive")
    least_experts: ClassVar[int] = 2

    def fit_with_truth(
        self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, labels: Labels
    ) -> WeightedExperts:
        """Choose by accuracy on `labels`. Raises ValueError for unusable logits or labels."""
        images, experts, classes = check_evidence(self, evidence)
        check_labels(labels, images, classes)
        correct = (evidence.logits.argmax(axis=2) == np.asarray(labels)[:, None]).sum(axis=0)
        return WeightedExperts(np.eye(experts)[int(correct.argmax())])
