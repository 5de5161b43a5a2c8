"""A new adapter: weight experts by how sure they are of the unlabelled test images.

    python examples/new_adapter.py --shift backward_lt --methods sade --adapters mean sade confident:power=4

In the project it is one file in harness/adapters/ and one line in harness/adapters/__init__.py.
"""

import sys
from dataclasses import dataclass

from scipy.special import softmax

from harness.adapters import ADAPTERS
from harness.adapters.parts.contract import Adapter, Counts, WeightedExperts
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.run import main
from methods.core.priors import ExpertPriors, target_prior


@dataclass(frozen=True)
class Confident(Adapter):
    name = "confident"
    access = Access("none", "none", "transductive")
    least_experts = 2
    power: float = 1.0

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        confidence = softmax(evidence.logits, -1).max(-1).mean(0) ** self.power
        weights = confidence / confidence.sum()
        return WeightedExperts(weights, prior=target_prior(expert_priors, weights))


if __name__ == "__main__":
    ADAPTERS["confident"] = f"{__name__}:Confident"
    sys.exit(main(sys.argv[1:]))
