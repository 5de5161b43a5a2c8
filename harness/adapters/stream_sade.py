"""SADE's aggregation in one pass over a stream: a step on each batch's views, then its answer.

Source: Zhang et al., NeurIPS 2022; its released script for ImageNet-LT (batch 64, one SGD step a batch, no stop).
Equation: that of `sade`, w = softmax(v), v starting equal; for each batch one step of SGD (learning rate 0.1, momentum
0.9, Nesterov, weight decay 5e-4) on the agreement of its first pair of views, then sum_e w_e z_e for its clean images.
Known at batch t: views of batches 1..t.
Failures: those of `sade`; early batches are answered with weights that have hardly moved, and the weights keep moving
in a direction that was right earlier.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Counts
from harness.adapters.parts.streams import StreamAdapter, StreamFitted
from harness.adapters.sade import Objective, check_objective, check_views, on_simplex, sgd_step
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors, target_prior


@dataclass(frozen=True)
class StreamSade(StreamAdapter):
    """Expert weights that follow the agreement of views through a stream."""

    name: ClassVar[str] = "stream_sade"
    access: ClassVar[Access] = Access("none", "none", "stream")
    reads: ClassVar[tuple[str, ...]] = ("views",)
    least_experts: ClassVar[int] = 2

    objective: Objective = "cosine"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_objective(self.objective)

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> StreamFitted:
        """Read the stream once; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason or logits or views are not finite.
        """
        images, experts, classes = check_evidence(self, evidence, expert_priors)
        views = check_views(evidence)[0]
        values, velocity, weights = np.zeros(experts), np.zeros(experts), []
        for part in self.batches(images):
            values, velocity = sgd_step(values, velocity, np.moveaxis(views[:, part], 2, 0), self.objective)
            weights.append(on_simplex(values))
        implied = target_prior(expert_priors, weights[-1])
        unbiased = np.zeros((len(weights), classes))
        return StreamFitted(images, self.batch, np.array(weights), unbiased, weights[-1], implied)
