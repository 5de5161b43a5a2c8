"""Cross entropies under label priors: softmax, balanced and inverse softmax, logit adjustment, SADE, BalPoE.

Each is CE(z + b, y) with a bias b [C] made of the train prior pi, so the minimising softmax(z) is the
posterior under the label prior proportional to pi * exp(-b). No bias is added at test time.

| loss | bias b | prior of softmax(z) |
| --- | --- | --- |
| `cross_entropy` | 0 | pi |
| `balanced_softmax` | log pi | uniform |
| `inverse_softmax` | log pi - tau log pibar | pibar^tau |
| `logit_adjusted` | tau log pi | pi^(1 - tau) |

Nothing is detached in this file. A `prior` may be counts: it is normalised, then padded by 1e-9 inside
logarithms as in the released code of SADE and BalPoE. Keep it on the device of the logits.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor

from methods.losses.arguments import check_counts, check_expert_logits, check_logits, full_precision

LOG_PAD = 1e-9
"""Added to normalised priors before a logarithm is taken."""


def cross_entropy(logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Return the softmax cross entropy of logits [B, C] and labels [B], mean over the batch."""
    check_logits(logits, target)
    return F.cross_entropy(full_precision(logits), target)


def balanced_softmax(
    logits: Float[Tensor, "batch classes"],
    target: Int[Tensor, " batch"],
    prior: Num[Tensor, " classes"],
) -> Float[Tensor, ""]:
    """Return CE(z + log pi, y), mean over the batch; logits [B, C], prior or counts [C].

    Source: Ren et al., NeurIPS 2020, theorem 1; SADE's uniform expert.
    """
    return logit_adjusted(logits, target, prior, tau=1.0)


def logit_adjusted(
    logits: Float[Tensor, "batch classes"],
    target: Int[Tensor, " batch"],
    prior: Num[Tensor, " classes"],
    tau: float = 1.0,
) -> Float[Tensor, ""]:
    """Return CE(z + tau log pi, y), mean over the batch; logits [B, C], prior or counts [C].

    Source: Menon et al., ICLR 2021, equation 10. tau = 1 is balanced softmax.
    """
    check_logits(logits, target)
    logits = full_precision(logits)
    return F.cross_entropy(logits + tau * _log_prior(prior, logits), target)


def inverse_softmax(
    logits: Float[Tensor, "batch classes"],
    target: Int[Tensor, " batch"],
    prior: Num[Tensor, " classes"],
    tau: float = 2.0,
) -> Float[Tensor, ""]:
    """Return CE(z + log pi - tau log pibar, y), mean over the batch; logits [B, C], prior or counts [C].

    pibar is pi reversed by rank (`reverse_by_rank`). Source: Zhang et al., NeurIPS 2022 (SADE), equation 3.
    """
    check_logits(logits, target)
    logits = full_precision(logits)
    return F.cross_entropy(logits + _inverse_bias(prior, logits, tau), target)


def sade(
    expert_logits: Float[Tensor, "batch experts classes"],
    target: Int[Tensor, " batch"],
    prior: Num[Tensor, " classes"],
    tau: float = 2.0,
) -> Float[Tensor, ""]:
    """Return the skill-diverse loss: the **sum** of the three losses of `sade_experts`; expert logits [B, 3, C]."""
    return sade_experts(expert_logits, target, prior, tau).sum()


def sade_experts(
    expert_logits: Float[Tensor, "batch experts classes"],
    target: Int[Tensor, " batch"],
    prior: Num[Tensor, " classes"],
    tau: float = 2.0,
) -> Float[Tensor, " experts"]:
    """Return the losses [3] of the forward (CE), uniform (balanced softmax) and backward (inverse softmax) expert.

    Each is a mean over the batch. Source: Zhang et al., NeurIPS 2022 (SADE), equations 1 to 3.
    """
    check_expert_logits(expert_logits, target)
    if expert_logits.shape[1] != 3:
        raise ValueError(f"SADE's loss is for 3 experts, not {expert_logits.shape[1]}")
    logits = full_precision(expert_logits)
    log_prior = _log_prior(prior, logits)
    bias = torch.stack([torch.zeros_like(log_prior), log_prior, _inverse_bias(prior, logits, tau)])
    return expert_cross_entropy(logits + bias, target)


def balpoe(
    expert_logits: Float[Tensor, "batch experts classes"],
    target: Int[Tensor, " batch"],
    prior: Num[Tensor, " classes"],
    taus: Sequence[float] = (0.0, 1.0, 2.0),
) -> Float[Tensor, ""]:
    """Return the **mean** of the losses of `balpoe_experts`; expert logits [B, E, C], one tau an expert."""
    return balpoe_experts(expert_logits, target, prior, taus).mean()


def balpoe_experts(
    expert_logits: Float[Tensor, "batch experts classes"],
    target: Int[Tensor, " batch"],
    prior: Num[Tensor, " classes"],
    taus: Sequence[float] = (0.0, 1.0, 2.0),
) -> Float[Tensor, " experts"]:
    """Return the losses [E], CE(z_e + tau_e log pi, y), each a mean over the batch.

    Source: Aimar et al., CVPR 2023 (BalPoE), logit-adjusted experts.
    """
    check_expert_logits(expert_logits, target)
    if expert_logits.shape[1] != len(taus):
        raise ValueError(f"{expert_logits.shape[1]} experts need as many taus, not {len(taus)}")
    logits = full_precision(expert_logits)
    log_prior = _log_prior(prior, logits)
    # Stacked on the device: a tensor made from `taus` would be copied from the host in every step.
    return expert_cross_entropy(logits + torch.stack([tau * log_prior for tau in taus]), target)


def expert_cross_entropy(
    expert_logits: Float[Tensor, "batch experts classes"], target: Int[Tensor, " batch"]
) -> Float[Tensor, " experts"]:
    """Return the softmax cross entropy of each expert, [E], mean over the batch; expert logits [B, E, C]."""
    check_expert_logits(expert_logits, target)
    batch, experts, _ = expert_logits.shape
    labels = target[:, None].expand(batch, experts)
    per_sample = F.cross_entropy(full_precision(expert_logits).transpose(1, 2), labels, reduction="none")
    return per_sample.mean(0)


def reverse_by_rank(prior: Num[Tensor, " classes"]) -> Num[Tensor, " classes"]:
    """Return pibar [C]: the class with the k-th largest prior gets the k-th smallest value.

    Stable ascending order with ranks reversed, so ties go by class index; on the device of `prior`.
    """
    order = prior.argsort(stable=True)
    return torch.zeros_like(prior).scatter(0, order, prior[order.flip(0)])


def _log_prior(prior: Tensor, logits: Tensor) -> Tensor:
    return (_normalised(prior, logits) + LOG_PAD).log()


def _inverse_bias(prior: Tensor, logits: Tensor, tau: float) -> Tensor:
    pi = _normalised(prior, logits)
    return (pi + LOG_PAD).log() - tau * (reverse_by_rank(pi) + LOG_PAD).log()


def _normalised(prior: Tensor, logits: Tensor) -> Tensor:
    check_counts(prior, logits.shape[-1], positive=False)
    values = prior.to(device=logits.device, dtype=logits.dtype, non_blocking=True)
    return values / values.sum()
