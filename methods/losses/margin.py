"""Label-distribution-aware margins (LDAM) and deferred re-weighting (DRW).

Source: Cao et al., NeurIPS 2019 (margins, deferral); Cui et al., CVPR 2019 (class-balanced weights);
constants as in RIDE's re-implementation. Nothing is detached in this file.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor

from methods.losses.arguments import check_counts, check_logits, full_precision


def ldam(
    logits: Float[Tensor, "batch classes"],
    target: Int[Tensor, " batch"],
    counts: Num[Tensor, " classes"],
    max_margin: float = 0.5,
    scale: float = 30.0,
    class_weight: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """Return the cross entropy after `scale * m_y` is taken off the target logit; logits [B, C], counts [C].

    logits: scale * cosine, that is **already scaled**, so the target's logit becomes scale * (cos - m_y).
    class_weight: [C] or None. With weights the result is sum_i w_{y_i} l_i / sum_i w_{y_i} over the
    batch; without, the mean over the batch. In several processes, and in parts of a batch
    (`methods.processes.parallel`), the weighted form divides by each one's own weights, as is usual: not the whole
    batch's gradient. Without BatchNorm, 128 images in two halves, 10 classes of 500 to 5 images: 11% apart (mean of 5
    draws; at most 29%).
    """
    check_logits(logits, target)
    check_counts(counts, logits.shape[1], positive=True)
    logits = full_precision(logits)
    margins = ldam_margins(counts.to(device=logits.device, dtype=logits.dtype, non_blocking=True), max_margin)
    if class_weight is not None:
        check_counts(class_weight, logits.shape[1], positive=False, name="class weights")
        class_weight = class_weight.to(device=logits.device, dtype=logits.dtype, non_blocking=True)
    # Not F.one_hot: it looks at the labels' values, for which the host would wait.
    on_target = target[:, None] == torch.arange(logits.shape[1], device=logits.device)
    return F.cross_entropy(logits - scale * margins * on_target, target, weight=class_weight)


def ldam_margins(counts: Num[Tensor, " classes"], max_margin: float = 0.5) -> Float[Tensor, " classes"]:
    """Return m_c = max_margin * n_c^(-1/4) / max_c n_c^(-1/4), [C]: the rarest class has the largest margin."""
    check_counts(counts, positive=True)
    if max_margin < 0:
        raise ValueError(f"the largest margin must not be negative, not {max_margin}")
    rarity = full_precision(counts).pow(-0.25)
    return max_margin * (rarity / rarity.max())


def drw_weights(counts: Num[Tensor, " classes"], beta: float = 0.9999) -> Float[Tensor, " classes"]:
    """Return the class-balanced weights (1 - beta) / (1 - beta^n_c), scaled to sum to C, [C]."""
    check_counts(counts, positive=True)
    if not 0 < beta < 1:
        raise ValueError(f"beta must lie strictly between 0 and 1, not {beta}")
    # expm1, because 1 - beta^n loses four of float32's seven digits at n = 1.
    weights = -1 / torch.expm1(full_precision(counts) * math.log(beta))
    return weights * (weights.numel() / weights.sum())
