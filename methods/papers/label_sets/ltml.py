"""ltml (Guo and Wang, CVPR 2021): a uniform and a re-balanced branch on one trunk, taught to agree.

x^u is a batch of uniform sampling, x^r one of class-aware sampling (`resampled_bce`); each goes through both branches.
Loss (eqs. 1-2), u, r: logits of a batch in its own branch, uhat, rhat: in the other one:
  L_cls(u, y^u) + L_cls(r, y^r) + lambda (|u - uhat|^2 + |r - rhat|^2) / K, lambda = 0.1 (`consistency`)
  L_cls(z, y) = -(1/K) sum_k w_k [y_k log sigma(sp_k z_k + mp_k) + (1 - y_k) log(1 - sigma(sn_k z_k + mn_k))]
with w_k = y_k e^(1 - N_k/N) + (1 - y_k) e^(N_k/N) and learnable means mp, mn and scales sp, sn, 4K a branch, which
start at 0 and 1, are trained with everything else and are dropped after training (`compensation`): raw logits at test.
Prediction: the mean of the branches' logits (adapter `mean`), through a sigmoid.
Network: all stages but the last are shared; a branch is a last stage, global average pooling and a linear classifier.
The paper's ablation, each branch alone to everything (with one branch `consistency` means nothing):
  ltml:branches=uniform,compensation=false     ltml:branches=rebalanced,compensation=false
  ltml:compensation=false,consistency=0        two branches
  ltml:compensation=false                      + consistency
  ltml                                         + compensation
No code was released, and what was at hand is not the paper's own text; where it is silent, this is chosen here: both
batches are one forward pass, so BatchNorm sees their union; streams are as long as the training set and not aligned
otherwise; gradients of the consistency reach both branches; weight decay draws the compensation to the plain loss; own
recipe: half the recipe's learning rate (0.01 under `published`, known of a re-implementation; baselines 0.02). Its
test-time augmentation is not offered. Not a reproduction.
A compensation that knows the labels is a short cut: the loss falls for ever as mp rises and mn sinks, without the
network. So it learns at `compensation_rate` = 0.01 of the learning rate. Embedded mosaics, one seed, whole test pool,
32 epochs at half of quick's learning rate: mAP 56.5 without it, 55.8 / 51.6 at rates 0.01 / 0.1; 16 epochs at a
quarter: 44.8 without it, 36.8 at rate 1.
Expected mAP total / head / medium / tail (ResNet-50, Table 1): VOC-MLT 81.44 / 75.68 / 85.53 / 82.69, COCO-MLT 56.90 /
54.13 / 60.59 / 54.47. Ablation, total: one branch 77.15 and 78.36, two 79.42, + consistency 81.22, + compensation 81.44
(COCO-MLT 53.15, 52.76, 54.71, 56.62, 56.90). Spread unknown; of the benchmark's methods about 0.7 a seed on VOC-MLT.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from methods.core.batch import Batch, ExpertOutput, NetworkSpec
from methods.core.recipe import Recipe
from methods.core.samplers import class_aware, instance
from methods.core.stage import Stage
from methods.losses import Compensation, logit_consistency, weighted_binary_cross_entropy
from methods.networks import build
from methods.networks.heads import small_linear_head
from methods.papers.label_sets.shared import MultiLabel

SAMPLERS = {"uniform": (instance,), "rebalanced": (class_aware,), "both": (instance, class_aware)}


class Compensated(nn.Module):
    """A network of branches and, for training only, the logit compensation of each (`means`, `scales`: [E, 2, C]).

    Both are held as their distance from the plain loss (means from 0, scales from 1) over sqrt(rate), so that a
    gradient step moves them at `rate` times the learning rate, and weight decay draws to the plain loss.
    """

    def __init__(self, network: nn.Module, branches: int, classes: int, rate: float) -> None:
        super().__init__()
        self.network = network
        self.means = nn.Parameter(torch.zeros(branches, 2, classes))
        self.scales = nn.Parameter(torch.zeros(branches, 2, classes))
        self.factor = math.sqrt(rate)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> ExpertOutput:
        return cast(ExpertOutput, self.network(images))

    def compensation(self, branch: int) -> Compensation:
        """Return scales and means of the branch's logits: of labels that are there, then of those that are not."""
        means, scales = self.factor * self.means[branch], 1 + self.factor * self.scales[branch]
        return Compensation(scales[0], means[0], scales[1], means[1])


@dataclass(frozen=True)
class Ltml(MultiLabel):
    name: ClassVar[str] = "ltml"
    consistency: float = 0.1
    compensation: bool = True
    compensation_rate: float = 0.01
    branches: Literal["both", "uniform", "rebalanced"] = "both"

    def __post_init__(self) -> None:
        if self.consistency < 0:
            raise ValueError(f"consistency must be >= 0 (0 switches it off), not {self.consistency:g}")
        if self.compensation_rate <= 0:
            raise ValueError(f"compensation_rate must be > 0, not {self.compensation_rate:g}")

    @property
    def branches_count(self) -> int:
        return len(SAMPLERS[self.branches])

    def network(self, spec: NetworkSpec) -> nn.Module:
        return build(spec, self.branches_count, reduced=False, head=small_linear_head, last_only=True)

    def training_network(self, spec: NetworkSpec) -> nn.Module:
        network = self.network(spec)
        if not self.compensation:
            return network
        return Compensated(network, self.branches_count, spec.classes, self.compensation_rate)

    def trained_network(self, training_network: nn.Module) -> nn.Module:
        return training_network.network if isinstance(training_network, Compensated) else training_network

    def stages(self, recipe: Recipe) -> list[Stage]:
        return [replace(recipe.stage(self.step, name="branches", lr=recipe.lr / 2), samplers=SAMPLERS[self.branches])]

    def step(self, network: nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
        """Return each branch's classification loss on its own batch, and the branches' distance on all batches."""
        logits = network(torch.cat([batch.images for batch in batches])).logits
        parts = logits.split([len(batch.target) for batch in batches])
        own = enumerate(zip(parts, batches, strict=True))
        loss = torch.stack([self.classification(network, part, batch, branch) for branch, (part, batch) in own]).sum()
        if len(batches) == 1:
            return {"loss": loss}
        apart = torch.stack([logit_consistency(part[:, 0], part[:, 1]) for part in parts]).sum()
        return {"loss": loss + self.consistency * apart, "consistency": apart}

    def classification(
        self, network: nn.Module, logits: Float[Tensor, "batch branches classes"], batch: Batch, branch: int
    ) -> Tensor:
        """Return the weighted, compensated loss of one branch on its own batch."""
        compensation = network.compensation(branch) if isinstance(network, Compensated) else None
        return batch.expect(
            lambda labels: weighted_binary_cross_entropy(
                logits[:, branch], labels, batch.counts, batch.population, compensation
            )
        )
