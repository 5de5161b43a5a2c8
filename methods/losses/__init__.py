"""Losses: pure functions of logits, labels and train counts, one family a file.

Every loss takes single logits [B, C] or expert logits [B, E, C], labels [B] (int64) and, where it needs
them, counts or a prior [C]; it returns a scalar, computed in float32 at least (float64 stays float64). Those for label
sets (`multi_label`) take labels [B, C] (floating point).
"""

from methods.losses.distillation import distillation
from methods.losses.diversity import classwise_temperature, diversity_kl, ride
from methods.losses.margin import drw_weights, ldam, ldam_margins
from methods.losses.multi_label import (
    Compensation,
    binary_cross_entropy,
    class_balanced_focal,
    distribution_balanced,
    focal,
    frequency_weights,
    logit_consistency,
    weighted_binary_cross_entropy,
)
from methods.losses.prior import (
    balanced_softmax,
    balpoe,
    balpoe_experts,
    cross_entropy,
    expert_cross_entropy,
    inverse_softmax,
    logit_adjusted,
    reverse_by_rank,
    sade,
    sade_experts,
)
from methods.losses.routing import gate_targets, gating
from methods.losses.scalarisation import smooth_tchebycheff
from methods.losses.transfer import knowledge_transfer, mutual_kl, shike

__all__ = [
    "Compensation",
    "balanced_softmax",
    "balpoe",
    "balpoe_experts",
    "binary_cross_entropy",
    "class_balanced_focal",
    "classwise_temperature",
    "cross_entropy",
    "distillation",
    "distribution_balanced",
    "diversity_kl",
    "drw_weights",
    "expert_cross_entropy",
    "focal",
    "frequency_weights",
    "gate_targets",
    "gating",
    "inverse_softmax",
    "knowledge_transfer",
    "ldam",
    "ldam_margins",
    "logit_adjusted",
    "logit_consistency",
    "mutual_kl",
    "reverse_by_rank",
    "ride",
    "sade",
    "sade_experts",
    "shike",
    "smooth_tchebycheff",
    "weighted_binary_cross_entropy",
]
