"""What multi-label methods share: label sets instead of classes, sigmoids instead of a softmax.

Their networks return logits [B, E, C], one expert a branch; the mean of the branches' logits, through a sigmoid, is the
score of a label. Linear heads; nothing is added to the logits of a trained network.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from methods.core.batch import Batch, NetworkSpec
from methods.core.method import Method
from methods.core.priors import ExpertPriors, normalise
from methods.core.recipe import Recipe
from methods.core.samplers import Sampler, class_aware, instance
from methods.core.stage import Stage
from methods.networks import build
from methods.networks.heads import small_linear_head
from shifts.images.entries import Task

SAMPLERS: dict[str, Sampler] = {"uniform": instance, "class_aware": class_aware}


@dataclass(frozen=True)
class MultiLabel(Method):
    """A method for label sets; `branches_count` is the number E of branches of its network."""

    task: ClassVar[Task] = "multi_label"

    @property
    def branches_count(self) -> int:
        """The number of branches E."""
        return 1

    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        """Return the normalised label marginals for every branch: approximate, as each label has a sigmoid."""
        return ExpertPriors(np.tile(normalise(counts), (self.branches_count, 1)), exact=False)


@dataclass(frozen=True)
class OneBranch(MultiLabel):
    """A baseline: one network, one loss, one sampler (`uniform`: every image once an epoch, or `class_aware`)."""

    sampler: Literal["uniform", "class_aware"] = "uniform"

    def network(self, spec: NetworkSpec) -> nn.Module:
        return build(spec, experts=1, reduced=False, head=small_linear_head)

    def stages(self, recipe: Recipe) -> list[Stage]:
        return [replace(recipe.stage(self.step), samplers=(SAMPLERS[self.sampler],))]

    @abstractmethod
    def loss(self, logits: Float[Tensor, "batch classes"], labels: Float[Tensor, "batch classes"], of: Batch) -> Tensor:
        """Return the loss of the branch's logits; `of` has the label counts and the number of training images."""

    def step(self, network: nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
        """Return the loss of the single branch."""
        (batch,) = batches
        logits = network(batch.images).logits[:, 0]
        return {"loss": batch.expect(lambda labels: self.loss(logits, labels, batch))}
