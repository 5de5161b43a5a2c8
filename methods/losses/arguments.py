"""What every loss does to its arguments first: one precision rule, and one clear line when a shape is wrong.

Shapes and types are always checked. Values are checked on the CPU only: on an accelerator looking at a
value would make the host wait for the device in every training step.
"""

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor


def full_precision(values: Num[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the same values in float32, or in float64 where they came in float64."""
    return values if values.dtype == torch.float64 else values.float()


def check_logits(logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"]) -> None:
    """Raise ValueError unless `logits` is [B, C] and `target` [B] holds int64 labels of its classes."""
    if logits.ndim != 2:
        raise ValueError(f"logits must be [batch, classes], not of shape {tuple(logits.shape)}")
    _check_target(logits, target)


def check_expert_logits(expert_logits: Float[Tensor, "batch experts classes"], target: Int[Tensor, " batch"]) -> None:
    """Raise ValueError unless `expert_logits` is [B, E, C] and `target` [B] holds labels of its classes."""
    check_experts(expert_logits)
    _check_target(expert_logits, target)


def check_experts(expert_logits: Float[Tensor, "batch experts classes"]) -> None:
    """Raise ValueError unless `expert_logits` is [B, E, C] with no empty axis."""
    if expert_logits.ndim != 3 or 0 in expert_logits.shape:
        shape = tuple(expert_logits.shape)
        raise ValueError(f"expert logits must be [batch, experts, classes], not empty, not of shape {shape}")


def check_label_sets(logits: Float[Tensor, "batch classes"], labels: Float[Tensor, "batch classes"]) -> None:
    """Raise ValueError unless `logits` [B, C] and `labels` [B, C] (floating point, in 0..1) fit and are not empty."""
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"logits must be [batch, classes], not empty, not of shape {tuple(logits.shape)}")
    if labels.shape != logits.shape or not labels.is_floating_point():
        given = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"label sets must be floating point of shape {tuple(logits.shape)}, not {given}")
    if labels.device.type == "cpu":
        low, high = (float(bound) for bound in labels.aminmax())
        if not 0 <= low <= high <= 1:
            raise ValueError(f"label sets must hold values in 0..1, not in {low:g}..{high:g}")


def check_counts(
    counts: Num[Tensor, " classes"],
    classes: int | None = None,
    *,
    positive: bool,
    name: str = "counts or prior",
) -> None:
    """Raise ValueError unless `counts` is [C], finite and non-negative (or positive) with a positive sum."""
    if counts.ndim != 1 or counts.numel() == 0 or (classes is not None and counts.numel() != classes):
        expected = "[classes]" if classes is None else f"[{classes}], one a class"
        raise ValueError(f"{name} must be of shape {expected}, not {tuple(counts.shape)}")
    if counts.device.type != "cpu":
        return
    if not bool(torch.isfinite(counts).all()) or bool((counts < 0).any()) or not bool((counts > 0).any()):
        raise ValueError(f"{name} must be finite and non-negative, with a positive sum")
    if positive and not bool((counts > 0).all()):
        raise ValueError(f"{name} must be positive for every class here: zero has no finite loss")


def _check_target(logits: Tensor, target: Tensor) -> None:
    batch, classes = logits.shape[0], logits.shape[-1]
    if batch == 0 or classes == 0:
        raise ValueError(f"logits must not be empty, not of shape {tuple(logits.shape)}")
    if target.shape != (batch,) or target.dtype != torch.int64:
        given = f"{target.dtype} of shape {tuple(target.shape)}"
        raise ValueError(f"target must be torch.int64 of shape ({batch},), not {given}")
    if target.device.type == "cpu":
        low, high = (int(bound) for bound in target.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(f"labels must lie in 0..{classes - 1}, not in {low}..{high}")
