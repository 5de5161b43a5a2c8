"""ride (Wang et al., ICLR 2021), stage 1: experts trained one by one with LDAM and pushed apart.

Loss, summed over experts k (released code, its configuration files being "the final guide"):
  LDAM_w(z_k, y) + lambda * Tm^2 * KL(softmax(zbar / T) || softmax(z_k / T)),  lambda = -0.45 (CIFAR)
with margins and DRW weights as in ldam_drw and a class-wise temperature T (gamma = 0.05); weights and temperature
are on from the first milestone (epoch 160 of 200). The target softmax(zbar / T) is detached. Options: `diversity`
(lambda), `individual=false` (the loss on the mean of logits: in the released code this comes with lambda = 0, here it
is an option of its own), `experts`. The experts answer for about pi * w (margins ignored).
Own recipe: x0.01 from the first and x1e-4 from the second milestone.
Network: ResNet-32, reduced experts (16/24/48), cosine heads s = 30; 783,856 parameters with three.
Departures of the code from the paper, kept as released: the mean of all experts is the KL's target instead of
pairs; Tm^2; T divided by its maximum; weight decay 5e-4 (paper: 2e-4).
Expected on CIFAR100-LT IF100, uniform test, no distillation: 47.7-49.0 over independent reruns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Int
from torch import Tensor, nn

from methods.expert import Batch, Method, NetworkSpec, Stage
from methods.ldam_drw import reweighted_prior
from methods.losses import ride
from methods.networks.cifar_resnet import expert_resnet
from methods.priors import ExpertPriors
from methods.recipe import Recipe


@dataclass(frozen=True)
class Ride(Method):
    name = "ride"
    experts: int = 3
    diversity: float = -0.45
    gamma: float = 0.05
    individual: bool = True

    def __post_init__(self) -> None:
        if self.experts < 2:
            raise ValueError(f"experts must be at least 2, not {self.experts} (one is ldam_drw)")

    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        return reweighted_prior(counts, self.experts)

    def network(self, spec: NetworkSpec) -> nn.Module:
        return expert_resnet(spec, self.experts, reduced=True)

    def stages(self, recipe: Recipe) -> list[Stage]:
        step = partial(self.step, reweight_from=recipe.milestones[0])
        return [recipe.stage(step, factors=(0.01, 1e-4))]

    def step(self, network: nn.Module, batches: Sequence[Batch], epoch: int, reweight_from: int) -> dict[str, Tensor]:
        """RIDE's loss; class weights and class-wise temperature from epoch `reweight_from` on."""
        (batch,) = batches
        logits = network(batch.images).logits
        return {
            "loss": batch.expect(
                lambda target: ride(
                    logits,
                    target,
                    batch.counts,
                    diversity=self.diversity,
                    gamma=self.gamma,
                    reweighted=epoch >= reweight_from,
                    individual=self.individual,
                )
            )
        }
