"""prl (Zhao et al., NeurIPS 2024): expert heads made by a hypernetwork from a preference, one training run for all.

Loss: sum_i L_i + mu log sum_i exp(L_i / mu), mu = 0.1 (smooth Tchebycheff; the paper's lambda), with SADE's L_1
(CE, forward), L_2 (balanced softmax, uniform), L_3 (inverse softmax, backward) and mixup Beta(0.4, 0.4) within each.
In each step head i is made for rhat = r * alpha_i / <r, alpha_i>, alpha_i ~ Dirichlet(beta_i), r trainable and
positive; beta (not published, ours): `raised` = 3.6 at the forward expert for i = 1, at the two others for i = 3,
`equal` = 1.2 elsewhere. At test a preference alpha on the simplex (forward, uniform, backward) makes all heads; none
given: equal shares. `variant=released` is what the released code does instead: alpha_i ~ Dir(0.5); input r + alpha
scaled to [0, 1], alpha = 0 at test; BalPoE's losses (tau = 0, 1, 2); 2 mean_i L_i, its log-sum-exp being the identity.
`variant=preference_weighted` is ours: one alpha ~ Dir(`equal`) feeds all heads, and each is trained by
CE(z + log pi - log p_alpha) with p_alpha = normalise(prod_e p_e^alpha_e) of SADE's p_e, so that a preference *is* a
target prior; r stays at ones.
Experts answer for pi, uniform, pibar^2 (released: pi, uniform, pi^-1; ours: p_alpha), approximately: mixup, and
heads asked for points that they were not trained at.
Network: RIDE's ResNet-32 layout at full width, generated cosine heads s = 30; 3,853,203 parameters.
Expected on CIFAR100-LT IF100, released code, with the log of the *true* test prior added (adapter oracle_prior):
70.2 66.9 62.6 59.4 55.4 | 52.1 | 49.4 47.6 47.0 46.6 47.7 on forward 50..2, uniform, backward 2..50. One run; no
figure without the prior, and no spread, is published.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from methods.core.batch import Batch, NetworkSpec
from methods.core.method import Method
from methods.core.priors import ExpertPriors, normalise, target_prior
from methods.core.recipe import Recipe
from methods.core.stage import Stage
from methods.losses import balpoe_experts, expert_cross_entropy, reverse_by_rank, sade_experts, smooth_tchebycheff
from methods.losses.prior import LOG_PAD
from methods.networks import build
from methods.networks.hypernetwork import Combine, PreferenceHead, PreferenceNetwork
from methods.papers.sade import Sade

EXPERTS = 3
TAUS = (0.0, 1.0, 2.0)
RELEASED_CONCENTRATION = 0.5


@dataclass(frozen=True)
class Prl(Method):
    name: ClassVar[str] = "prl"
    has_preference: ClassVar[bool] = True
    variant: Literal["paper", "released", "preference_weighted"] = "paper"
    mu: float = 0.1
    equal: float = 1.2
    raised: float = 3.6
    mixup: float = 0.4

    def __post_init__(self) -> None:
        if not (self.mu > 0 and self.equal > 0 and self.raised > 0):
            raise ValueError(f"mu, equal and raised must be positive, not {self.mu}, {self.equal}, {self.raised}")
        if self.mixup < 0:
            raise ValueError(f"mixup must be >= 0 (0 switches it off), not {self.mixup:g}")

    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        """Return SADE's (released: BalPoE's) priors [3, C] for any preference, which their losses do not know.

        In the variant preference_weighted all heads answer for p_alpha, alpha = `preference` (equal shares if None);
        there it raises ValueError unless those are three non-negative numbers with a positive sum.
        """
        if self.variant == "released":
            prior = normalise(counts)
            return ExpertPriors(np.stack([normalise(prior ** (1 - tau)) for tau in TAUS]), exact=False)
        values = Sade().expert_priors(counts).values
        if self.variant == "preference_weighted":
            alpha = normalise(np.ones(EXPERTS) if preference is None else preference)
            values = np.tile(target_prior(ExpertPriors(values, exact=False), alpha), (EXPERTS, 1))
        return ExpertPriors(values, exact=False)

    def network(self, spec: NetworkSpec) -> PreferenceNetwork:
        trunk = build(spec, EXPERTS, reduced=False, head=lambda dim, classes: nn.Identity())
        combine: Combine = "sum" if self.variant == "released" else "product"
        return PreferenceNetwork(trunk, PreferenceHead(EXPERTS, trunk.dim, spec.classes, combine))

    def stages(self, recipe: Recipe) -> list[Stage]:
        stage = recipe.stage(self.step, mixup=self.mixup or None)
        if self.variant == "preference_weighted":
            stage = replace(stage, trainable=lambda name: name != "head.free")
        return [stage]

    def step(self, network: nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
        """Return the variant's loss at freshly drawn preferences."""
        (batch,) = batches
        alpha = self.draw(batch)
        logits = network(batch.images, alpha).logits
        if self.variant == "released":
            losses = batch.expect(lambda target: balpoe_experts(logits, target, batch.counts, TAUS))
            return {"loss": 2 * losses.mean()}
        if self.variant == "preference_weighted":
            adjusted = logits + weighted_bias(batch.counts, alpha)
            losses = batch.expect(lambda target: expert_cross_entropy(adjusted, target))
        else:
            losses = batch.expect(lambda target: sade_experts(logits, target, batch.counts))
        return {"loss": losses.sum() + smooth_tchebycheff(losses, self.mu)}

    def draw(self, batch: Batch) -> Float[Tensor, "*heads experts"]:
        """Draw Dirichlet preferences from the batch's generator: one an expert [3, 3], or one for all heads [3]."""
        shape = (EXPERTS,) if self.variant == "preference_weighted" else (EXPERTS, EXPERTS)
        equal = RELEASED_CONCENTRATION if self.variant == "released" else self.equal
        beta = torch.full(shape, equal, device=batch.images.device)
        if self.variant == "paper":
            beta[0, 0] = self.raised
            beta[2, 1:] = self.raised
        gammas = torch._standard_gamma(beta, batch.generator)
        return gammas / gammas.sum(-1, keepdim=True)


def weighted_bias(counts: Float[Tensor, " classes"], alpha: Float[Tensor, " experts"]) -> Float[Tensor, " classes"]:
    """Return log pi - log p_alpha up to a constant, p_alpha = prod_e p_e^alpha_e of pi, uniform prior and pibar^2."""
    prior = counts / counts.sum()
    log_prior, log_reversed = (prior + LOG_PAD).log(), (reverse_by_rank(prior) + LOG_PAD).log()
    return log_prior - alpha[0] * log_prior - alpha[2] * 2 * log_reversed
