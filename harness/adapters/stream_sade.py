"""SADE's aggregation in one pass over a stream: a step on each batch's views, then its answer.

Source: Zhang et al., NeurIPS 2022; its released script for ImageNet-LT (batch 64, one SGD step a batch, no stop).
Equation: that of `sade`, w = softmax(v), v starting equal; for each batch one step of SGD (learning rate 0.1, momentum
0.9, Nesterov, weight decay 5e-4) on the agreement of its first pair of views, then sum_e w_e z_e for its clean images.
Known at batch t: views of batches 1..t (with `first=answer` 1..t-1).
Failures: those of `sade`; early batches are answered with weights that have hardly moved, and the weights keep moving
in a direction that was right earlier.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.contract import PerClass, Prior, Weights
from harness.adapters.parts.streams import Reader, StreamAdapter
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

    def check(self, evidence: Evidence) -> None:
        check_views(evidence)

    def reader(self, evidence: Evidence, expert_priors: ExpertPriors) -> "SadeReader":
        start = np.zeros(evidence.logits.shape[1])
        return SadeReader({"values": start, "velocity": start}, self.first, self.objective, expert_priors)


@dataclass
class SadeReader(Reader):
    """Remembers v and its velocity, [E] each."""

    objective: Objective
    expert_priors: ExpertPriors

    def learn(self, batch: Evidence) -> None:
        assert batch.views is not None
        views = np.moveaxis(batch.views[0], 2, 0)
        values, velocity = sgd_step(self.memory["values"], self.memory["velocity"], views, self.objective)
        self.memory = {"values": values, "velocity": velocity}

    def answer(self) -> tuple[Weights, PerClass]:
        return on_simplex(self.memory["values"]), np.zeros(self.expert_priors.values.shape[1])

    @property
    def prior(self) -> Prior:
        return target_prior(self.expert_priors, on_simplex(self.memory["values"]))
