"""ride (Wang et al., ICLR 2021): experts trained one by one with LDAM and pushed apart, then gates between them.

Stage 1, summed over experts k (released code, its configuration files being "the final guide"):
  LDAM_w(z_k, y) + lambda * Tm^2 * KL(softmax(zbar / T) || softmax(z_k / T)),  lambda = -0.45 (CIFAR)
with margins and DRW weights as in ldam_drw and a class-wise temperature T (gamma = 0.05); weights and temperature
are on from the first milestone (epoch 160 of 200). The target softmax(zbar / T) is detached. Options: `diversity`
(lambda), `individual=false` (the loss on the mean of logits: in the released code this comes with lambda = 0, here it
is an option of its own), `experts`. The experts answer for about pi * w (margins ignored).
Own recipe: x0.01 from the first and x1e-4 from the second milestone (the recipe's `drw_factors`).
On 224-pixel data the released files have other values, which are options here and not set by the dataset:
  imagenet_lt: `ride:diversity=-0.2,gamma=0.02,topk=50` (topk 30 with ResNet-10), inaturalist2018: the same with
  gamma=0.015; re-weighting from epoch 80 is the published recipe's. Expected, three experts, no distillation, routed:
  55.7 on ImageNet-LT with ResNeXt-50, 71.2 on iNaturalist 2018 with ResNet-50 (released zoo).
Stage 2, experts frozen (BatchNorm too): binary cross entropy of the gates, positives (a wrong ensemble that a later
one puts right) weighted by `pos_weight` = 100; each gate sees the `topk` = 30 largest mean logits. SGD lr 0.01,
Nesterov momentum 0.9, weight decay 5e-4, batch 512, 5 epochs under every recipe, cosine to 0, class-balanced. What
the frozen experts make of the training images is computed once an epoch, so an image drawn twice in an epoch keeps
its augmentation (released: one draw each). The adapter `routed` uses the gates; `mean` runs all experts.
Network: ResNet-32, reduced experts (16/24/48), cosine heads s = 30; 530,512 / 783,856 / 1,037,200 / 1,543,888
parameters with 2 / 3 / 4 / 6 experts, and 1,615 in the gates between three, which are counted with them.
Departures of the code from the paper, kept as released: the mean of all experts is the KL's target instead of
pairs; Tm^2; T divided by its maximum; weight decay 5e-4 (paper: 2e-4).
Expected on CIFAR100-LT IF100, uniform test, no distillation: 47.7-49.0 over independent reruns, all experts run; 48.6
routed in the released zoo (cost not given); 48.0 routed in the paper, at 77.8 M MACs (2.09 of three experts in the
README's example). 4 experts: 49.6, routed 49.1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from methods.core.batch import Batch, NetworkSpec
from methods.core.method import Method
from methods.core.priors import ExpertPriors
from methods.core.recipe import Recipe
from methods.core.samplers import class_balanced
from methods.core.stage import CosineSchedule, Stage
from methods.losses import gating, ride
from methods.networks import build
from methods.networks.routing import GatedExperts, RoutingGate
from methods.papers.ldam_drw import reweighted_prior

GATE_EPOCHS = 5


@dataclass(frozen=True)
class Ride(Method):
    name: ClassVar[str] = "ride"
    version: ClassVar[int] = 2
    has_gates: ClassVar[bool] = True
    experts: int = 3
    diversity: float = -0.45
    gamma: float = 0.05
    individual: bool = True
    topk: int = 30
    pos_weight: float = 100.0

    def __post_init__(self) -> None:
        if self.experts < 2:
            raise ValueError(f"experts must be at least 2, not {self.experts} (one is ldam_drw)")
        if self.topk < 1 or not self.pos_weight > 0:
            raise ValueError(f"topk and pos_weight must be positive, not {self.topk} and {self.pos_weight}")

    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        return reweighted_prior(counts, self.experts)

    def network(self, spec: NetworkSpec) -> GatedExperts:
        experts = build(spec, self.experts, reduced=True)
        return GatedExperts(experts, RoutingGate(self.experts, experts.dim, min(self.topk, spec.classes)))

    def stages(self, recipe: Recipe) -> list[Stage]:
        return [self.experts_stage(recipe, self.step, of="experts."), self.gate_stage(recipe, of="gate.")]

    def experts_stage(
        self, recipe: Recipe, step: Callable[..., dict[str, Tensor]], *, of: str, name: str = "experts", **changes: Any
    ) -> Stage:
        """Return stage 1 for the parameters whose names start with `of`; `step` takes the epoch `reweight_from` too."""
        scheduled = partial(step, reweight_from=recipe.reweight_from)
        return replace(
            recipe.stage(scheduled, name=name, switches=(recipe.reweight_from,), factors=recipe.drw_factors, **changes),
            trainable=lambda parameter: parameter.startswith(of),
        )

    def gate_stage(self, recipe: Recipe, *, of: str) -> Stage:
        """Return stage 2 for the gates, whose parameters' names start with `of`; everything else is frozen."""
        sgd: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "batch_size": 512}
        return replace(
            recipe.stage(self.gate_step, name="gate", epochs=GATE_EPOCHS, **sgd),
            schedule=CosineSchedule(GATE_EPOCHS, base=1.0, warmup=0),
            trainable=lambda parameter: parameter.startswith(of),
            samplers=(class_balanced,),
            freeze=True,
            cached=True,
        )

    def step(self, network: nn.Module, batches: Sequence[Batch], epoch: int, reweight_from: int) -> dict[str, Tensor]:
        """Return RIDE's loss; class weights and class-wise temperature from epoch `reweight_from` on."""
        (batch,) = batches
        return {"loss": self.loss(network(batch.images).logits, batch, reweighted=epoch >= reweight_from)}

    def loss(self, logits: Float[Tensor, "batch experts classes"], batch: Batch, *, reweighted: bool) -> Tensor:
        """Return `methods.losses.ride` with this method's options."""
        return batch.expect(
            lambda target: ride(
                logits,
                target,
                batch.counts,
                diversity=self.diversity,
                gamma=self.gamma,
                reweighted=reweighted,
                individual=self.individual,
            )
        )

    def gate_step(self, network: nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
        """Return the gates' loss on what the frozen experts made of the images."""
        (batch,) = batches
        assert batch.output is not None  # the stage is cached
        gates = cast(GatedExperts, self.trained_network(network)).gate_logits(batch.output)
        return {"loss": gating(gates, batch.output.logits, batch.target, self.pos_weight)}
