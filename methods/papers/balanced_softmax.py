"""balanced_softmax (Ren et al., NeurIPS 2020): cross entropy on logits plus the log train prior.

Loss (Theorem 1): CE(z + log pi, y); the softmax answers for the uniform prior. Full-width ResNet-32, linear head.
Expected on CIFAR100-LT IF100, uniform test: 46.1 (SADE's table); forward-50 57.8 and backward-50 33.7 (unverified).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from torch import Tensor, nn

from methods.core.batch import Batch, NetworkSpec
from methods.core.method import Method
from methods.core.priors import ExpertPriors, normalise
from methods.core.recipe import Recipe
from methods.core.stage import Stage
from methods.losses import balanced_softmax
from methods.networks import build
from methods.networks.heads import linear_head


@dataclass(frozen=True)
class BalancedSoftmax(Method):
    name = "balanced_softmax"

    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        return ExpertPriors(normalise(np.ones(len(counts)))[None], exact=True)

    def network(self, spec: NetworkSpec) -> nn.Module:
        return build(spec, experts=1, reduced=False, head=linear_head)

    def stages(self, recipe: Recipe) -> list[Stage]:
        return [recipe.stage(step)]


def step(network: nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
    """Return balanced softmax of the single branch."""
    (batch,) = batches
    logits = network(batch.images).logits[:, 0]
    return {"loss": batch.expect(lambda target: balanced_softmax(logits, target, batch.counts))}
