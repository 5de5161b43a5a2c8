"""softmax: one network trained with plain cross entropy, the field's lower reference.

Loss: CE(z, y); the softmax answers for the train prior pi. Full-width ResNet-32 (470,004 parameters at 100 classes,
69.5 M MACs), linear head.
Expected on CIFAR100-LT IF100, uniform test: 41.4 (SADE's table), 39.1 (RIDE's re-run); forward-50 62.3-63.3,
backward-50 17.5. Spread between sources about 2 points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Int
from torch import Tensor, nn

from methods.core.batch import Batch, NetworkSpec
from methods.core.method import Method
from methods.core.priors import ExpertPriors, normalise
from methods.core.recipe import Recipe
from methods.core.stage import Stage
from methods.losses import cross_entropy
from methods.networks import build
from methods.networks.heads import linear_head


@dataclass(frozen=True)
class Softmax(Method):
    name = "softmax"

    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        return ExpertPriors(normalise(counts)[None], exact=True)

    def network(self, spec: NetworkSpec) -> nn.Module:
        return build(spec, experts=1, reduced=False, head=linear_head)

    def stages(self, recipe: Recipe) -> list[Stage]:
        return [recipe.stage(step)]


def step(network: nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
    """Return cross entropy of the single branch."""
    (batch,) = batches
    logits = network(batch.images).logits[:, 0]
    return {"loss": batch.expect(partial(cross_entropy, logits))}
