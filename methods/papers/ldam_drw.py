"""ldam_drw (Cao et al., NeurIPS 2019): label-distribution-aware margins with deferred re-weighting.

Loss: CE on cosine logits (s = 30) whose target logit is lowered by s * m_y, m_c proportional to
n_c^(-1/4), 0.5 for the rarest class; from the first milestone on (epoch 160 of 200) weighted by the effective number
of samples (beta = 0.9999). The softmax answers for about pi * w (margins ignored).
Own recipe: weight decay 2e-4, no Nesterov, x0.01 from the first and x1e-4 from the second milestone, no rotation.
Expected on CIFAR100-LT IF100, uniform test: 42.0 (unverified).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from methods.core.batch import Batch, NetworkSpec
from methods.core.method import Method
from methods.core.priors import ExpertPriors, normalise
from methods.core.recipe import Recipe
from methods.core.stage import Stage
from methods.losses import drw_weights, ldam
from methods.networks import build
from methods.networks.heads import SCALE


@dataclass(frozen=True)
class LdamDrw(Method):
    name = "ldam_drw"
    max_margin: float = 0.5

    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        return reweighted_prior(counts, experts=1)

    def network(self, spec: NetworkSpec) -> nn.Module:
        return build(spec, experts=1, reduced=False)

    def stages(self, recipe: Recipe) -> list[Stage]:
        step, switches = partial(self.step, reweight_from=recipe.reweight_from), (recipe.reweight_from,)
        changes: dict[str, Any] = {"weight_decay": 2e-4, "nesterov": False, "rotation": 0.0}
        return [recipe.stage(step, switches=switches, factors=recipe.drw_factors, **changes)]

    def step(self, network: nn.Module, batches: Sequence[Batch], epoch: int, reweight_from: int) -> dict[str, Tensor]:
        """Return LDAM of the single branch, class-weighted from epoch `reweight_from` on."""
        (batch,) = batches
        logits = network(batch.images).logits[:, 0]
        weight = drw_weights(batch.counts) if epoch >= reweight_from else None
        return {"loss": batch.expect(lambda target: ldam(logits, target, batch.counts, self.max_margin, SCALE, weight))}


def reweighted_prior(counts: Int[np.ndarray, " classes"], experts: int) -> ExpertPriors:
    """Return normalise(pi * w) for experts trained with class weights w (DRW); margins are ignored, so approximate."""
    weights = drw_weights(torch.as_tensor(counts, dtype=torch.float64)).numpy()
    return ExpertPriors(np.tile(normalise(counts * weights), (experts, 1)), exact=False)
