"""RIDE's stage-1 loss: LDAM on every expert and a distribution-aware diversity term.

Source: Wang et al., ICLR 2021, and the authors' re-implementation, which they call the final guide where it
differs from the paper. Detached: the diversity term's target (see `diversity_kl`), nothing else.
"""

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from methods.losses.arguments import check_counts, check_expert_logits, check_experts, full_precision
from methods.losses.margin import drw_weights, ldam


def ride(
    expert_logits: Float[Tensor, "batch experts classes"],
    target: Int[Tensor, " batch"],
    counts: Num[Tensor, " classes"],
    *,
    diversity: float = -0.45,
    gamma: float = 0.05,
    reweighted: bool,
    individual: bool = True,
    max_margin: float = 0.5,
    scale: float = 30.0,
    beta: float = 0.9999,
) -> Float[Tensor, ""]:
    """Return sum_e [ LDAM_w(z_e, y) + diversity * Tm^2 * KL(softmax(zbar/T) || softmax(z_e/T)) ].

    expert_logits: [B, E, C], already multiplied by `scale`; zbar is their mean over experts; counts [C].
    The **sum** over experts. Tm is the mean of the class-wise temperature T over classes.
    reweighted: before the schedule's switch (False) w = 1 and T = 1; after it (True) w are DRW weights
        with `beta` and T is `classwise_temperature` with `gamma`.
    individual: each expert answers for its own logits (the paper); False is the collaborative loss, in which
        the margin loss of the mean logits stands for every expert. The released code couples this to
        diversity = 0; here the two are separate options.
    diversity: negative, so that divergence is rewarded: -0.45 for CIFAR-100, -0.2 for ImageNet and
        iNaturalist. Detached: the KL's target.
    """
    check_expert_logits(expert_logits, target)
    check_counts(counts, expert_logits.shape[-1], positive=True)
    logits = full_precision(expert_logits)
    counts = counts.to(device=logits.device, dtype=logits.dtype, non_blocking=True)
    weight = drw_weights(counts, beta) if reweighted else None
    temperature = classwise_temperature(counts, gamma) if reweighted else torch.ones_like(counts)

    experts = logits.shape[1]
    if individual:
        answers = [ldam(logits[:, e], target, counts, max_margin, scale, weight) for e in range(experts)]
        base = torch.stack(answers).sum()
    else:
        base = experts * ldam(logits.mean(1), target, counts, max_margin, scale, weight)
    return base + diversity * temperature.mean() ** 2 * diversity_kl(logits, temperature).sum()


def diversity_kl(
    expert_logits: Float[Tensor, "batch experts classes"],
    temperature: Float[Tensor, " classes"] | float = 1.0,
) -> Float[Tensor, " experts"]:
    """Return KL(softmax(zbar/T) || softmax(z_e/T)) of each expert, [E]: summed over classes, mean over the batch.

    expert_logits: [B, E, C]; temperature: a number or one a class [C]; zbar is the mean of logits over
    **all** experts, e included. Detached: softmax(zbar/T), so the gradient reaches expert e's own term only.
    """
    check_experts(expert_logits)
    logits = full_precision(expert_logits)
    if isinstance(temperature, Tensor):
        if temperature.ndim > 0:
            check_counts(temperature, logits.shape[-1], positive=True, name="a temperature")
        temperature = temperature.to(device=logits.device, dtype=logits.dtype, non_blocking=True)
    elif not temperature > 0:
        raise ValueError(f"a temperature must be positive, not {temperature}")
    consensus = (logits.detach().mean(1, keepdim=True) / temperature).log_softmax(-1)
    expert = (logits / temperature).log_softmax(-1)
    return (consensus.exp() * (consensus - expert)).sum(-1).mean(0)


def classwise_temperature(
    counts: Num[Tensor, " classes"], gamma: float = 0.05, base: float = 1.0
) -> Float[Tensor, " classes"]:
    """Return T_c = base * b_c / max_c b_c with b_c = gamma * C * pi_c + 1 - gamma, [C]; 0 < T_c <= base.

    The head has the temperature `base`, the tail less. gamma: 0.05 on CIFAR, 0.02 on ImageNet-LT, 0.015 on
    iNaturalist. The paper adds 1 - max b where the authors' code, followed here, divides by max b.
    """
    check_counts(counts, positive=False)
    if not 0 <= gamma < 1 or not base > 0:
        raise ValueError(f"need 0 <= gamma < 1 and a positive base, not gamma {gamma}, base {base}")
    values = full_precision(counts)
    spread = gamma * (values / values.mean()) + (1 - gamma)
    return base * (spread / spread.max())
