"""logit_adjusted (Menon et al., ICLR 2021): cross entropy on logits plus tau times the log prior.

Loss (eq. 10): CE(z + tau log pi, y); the softmax answers for pi^(1 - tau). At tau = 1 (default) it is balanced
softmax's loss. Post-hoc form (eq. 9), `posthoc=true`: train with CE, subtract tau log pi at test; the experts then
answer for the same prior. Full-width ResNet-32, linear head.
Expected on CIFAR100-LT IF100, uniform test: 43.9-45.3 (quoted, several recipes).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from methods.core.batch import Batch, ExpertOutput, NetworkSpec
from methods.core.method import Method
from methods.core.priors import ExpertPriors, normalise
from methods.core.recipe import Recipe
from methods.core.stage import Stage
from methods.losses import cross_entropy, logit_adjusted
from methods.networks import build
from methods.networks.heads import linear_head


@dataclass(frozen=True)
class LogitAdjusted(Method):
    name = "logit_adjusted"
    tau: float = 1.0
    posthoc: bool = False

    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        return ExpertPriors(normalise(normalise(counts) ** (1 - self.tau))[None], exact=True)

    def network(self, spec: NetworkSpec) -> nn.Module:
        network = build(spec, experts=1, reduced=False, head=linear_head)
        return PostHocAdjusted(network, spec.counts, self.tau) if self.posthoc else network

    def stages(self, recipe: Recipe) -> list[Stage]:
        return [recipe.stage(self.step)]

    def step(self, network: nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
        """Return logit-adjusted cross entropy of the single branch; plain cross entropy for the post-hoc form."""
        (batch,) = batches
        logits = network(batch.images).logits[:, 0]
        if self.posthoc:
            return {"loss": batch.expect(partial(cross_entropy, logits))}
        return {"loss": batch.expect(lambda target: logit_adjusted(logits, target, batch.counts, self.tau))}


class PostHocAdjusted(nn.Module):
    """A network whose logits lose tau log pi in evaluation mode and are plain while it trains."""

    log_prior: Float[Tensor, " classes"]

    def __init__(self, network: nn.Module, counts: Sequence[int], tau: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("log_prior", tau * torch.tensor(normalise(counts)).log().float())

    def forward(self, images: Tensor) -> ExpertOutput:
        output: ExpertOutput = self.network(images)
        return output if self.training else output._replace(logits=output.logits - self.log_prior)
