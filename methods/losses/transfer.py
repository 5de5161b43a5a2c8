"""SHIKE's dynamic knowledge transfer: non-target distillation from a grand teacher, and mutual distillation.

Source: Jin et al., CVPR 2023, and the authors' code. Temperature 1 everywhere. Nothing is detached unless
`detach_teacher` is set: then every target distribution is (the grand teacher and, in the mutual term, the
other expert).

Switches, with the released code's choice as default:
- teacher_target_logit: `zero` leaves the grand teacher a logit of 0 at the target class, where the student
  has -30: late in training that costs nats per sample. `masked` drops the target class from both.
- reduction: `mean` divides by B * C, so that the strength falls with the number of classes;
  `batchmean` is the divergence per sample.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from methods.losses.arguments import check_expert_logits, check_experts, full_precision
from methods.losses.prior import expert_cross_entropy

TARGET_LOGIT = -30.0
"""The student's logit at the target class in the non-target term: a cosine head's least at s = 30."""

Reduction = Literal["mean", "batchmean"]
TargetLogit = Literal["zero", "masked"]


def shike(
    expert_logits: Float[Tensor, "batch experts classes"],
    target: Int[Tensor, " batch"],
    *,
    teacher_target_logit: TargetLogit = "zero",
    detach_teacher: bool = False,
    reduction: Reduction = "mean",
    transfer_weight: float = 10.0,
    mutual_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Return sum_k [ CE(z_k, y) + 10 * D(phat || q_k) + sum_{j != k} D(softmax z_j || softmax z_k) ], z [B, E, C].

    D is a KL divergence under `reduction`; phat and q_k are in `knowledge_transfer`, the last term in
    `mutual_kl`. Finite for any logits whose sums over experts and classes are.
    """
    transfer = knowledge_transfer(
        expert_logits,
        target,
        teacher_target_logit=teacher_target_logit,
        detach_teacher=detach_teacher,
        reduction=reduction,
    )
    mutual = mutual_kl(expert_logits, detach_teacher=detach_teacher, reduction=reduction)
    answers = expert_cross_entropy(expert_logits, target)
    return (answers + transfer_weight * transfer + mutual_weight * mutual).sum()


def knowledge_transfer(
    expert_logits: Float[Tensor, "batch experts classes"],
    target: Int[Tensor, " batch"],
    *,
    teacher_target_logit: TargetLogit = "zero",
    detach_teacher: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, " experts"]:
    """Return D(phat || q_k) of each expert, [E]; expert logits [B, E, C].

    The grand teacher phat is the softmax of: at the hardest negative (the largest mean logit among
    non-targets) that mean logit; at the other non-targets the largest logit of any expert; at the target 0,
    or nothing at all (`masked`). The student q_k is the softmax of z_k with -30 at the target, or without it.
    Not detached unless `detach_teacher`: gradients reach the largest expert and the mean.
    """
    check_expert_logits(expert_logits, target)
    logits = full_precision(expert_logits)
    classes = logits.shape[-1]
    if classes < 2:
        raise ValueError("knowledge transfer needs at least 2 classes")
    if teacher_target_logit not in ("zero", "masked"):
        raise ValueError(f"teacher_target_logit must be zero or masked, not {teacher_target_logit!r}")

    class_index = torch.arange(classes, device=logits.device)
    on_target = target[:, None] == class_index
    mean = logits.mean(1)
    hardest = mean.detach().masked_fill(on_target, -torch.inf).argmax(-1, keepdim=True)
    teacher = torch.where(hardest == class_index, mean, logits.amax(1))
    if teacher_target_logit == "zero":
        teacher = teacher.masked_fill(on_target, 0.0)
        student = logits.masked_fill(on_target[:, None], TARGET_LOGIT)
    else:
        # Column k of the shortened axis is class k before the target and class k + 1 from it on.
        kept = class_index[:-1] + (class_index[:-1] >= target[:, None])
        teacher = teacher.gather(-1, kept)
        student = logits.gather(-1, kept[:, None].expand(-1, logits.shape[1], -1))
    log_teacher = teacher.log_softmax(-1)[:, None]
    if detach_teacher:
        log_teacher = log_teacher.detach()
    return _reduced_kl(log_teacher, student.log_softmax(-1), classes, reduction)


def mutual_kl(
    expert_logits: Float[Tensor, "batch experts classes"],
    *,
    detach_teacher: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, " experts"]:
    """Return sum_{j != k} D(softmax z_j || softmax z_k) of each expert k, [E]; expert logits [B, E, C].

    Not detached unless `detach_teacher`: both experts of a pair get gradients from both directions.
    """
    check_experts(expert_logits)
    own = full_precision(expert_logits).log_softmax(-1)
    others = own.detach() if detach_teacher else own
    experts = own.shape[1]
    terms = [_reduced_kl(others.roll(shift, dims=1), own, own.shape[-1], reduction) for shift in range(1, experts)]
    return torch.stack(terms).sum(0) if terms else own.new_zeros(experts)


def _reduced_kl(log_target: Tensor, log_input: Tensor, classes: int, reduction: Reduction) -> Tensor:
    """Return KL(target || input) over the last axis of [B, E, C], reduced to [E]."""
    if reduction not in ("mean", "batchmean"):
        raise ValueError(f"reduction must be mean or batchmean, not {reduction!r}")
    per_sample = (log_target.exp() * (log_target - log_input)).sum(-1).mean(0)
    return per_sample / classes if reduction == "mean" else per_sample
