"""What RIDE's routing gates learn: is the ensemble so far wrong, and can a later one put it right?"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from methods.losses.arguments import check_expert_logits, full_precision


def gate_targets(
    expert_logits: Float[Tensor, "batch experts classes"], target: Int[Tensor, " batch"]
) -> Bool[Tensor, "batch gates"]:
    """Return whether gate i should ask for expert i+1, [B, E-1].

    True where the sum of the logits of experts 0..i is wrong and that of experts 0..j is right for some j > i;
    always with all experts run on all images. Source: Wang et al., ICLR 2021, released code.
    """
    check_expert_logits(expert_logits, target)
    right = full_precision(expert_logits).cumsum(1).argmax(-1) == target[:, None]
    later = right.flip(1).cummax(1).values.flip(1)[:, 1:]
    return ~right[:, :-1] & later


def gating(
    gate_logits: Float[Tensor, "batch gates"],
    expert_logits: Float[Tensor, "batch experts classes"],
    target: Int[Tensor, " batch"],
    positive_weight: float = 100.0,
) -> Float[Tensor, ""]:
    """Return the gates' binary cross entropy against `gate_targets`, positives weighted, mean over gates and batch.

    positive_weight: 100 in every released configuration (the code's default is 20). Detached: the expert logits,
    of which only the argmax counts. Source: Wang et al., ICLR 2021, released code. Raises ValueError where
    gate_logits is not [B, E-1] or the weight is not positive.
    """
    positive = gate_targets(expert_logits, target)
    if gate_logits.shape != positive.shape or 0 in positive.shape:
        raise ValueError(f"gate logits must be [batch, experts - 1], not of shape {tuple(gate_logits.shape)}")
    if not positive_weight > 0:
        raise ValueError(f"the weight of positives must be positive, not {positive_weight}")
    logits = full_precision(gate_logits)
    wanted = positive.to(logits.dtype)
    weight = torch.where(positive, positive_weight, 1.0).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, wanted, weight)
