"""Losses for label sets: sigmoid cross entropies whose weights and offsets follow the label counts.

Every loss takes logits [B, C], labels [B, C] (floating point, 0 or 1) and, where it needs them, label counts N_k [C]
and the number N of training images; it returns a scalar, the mean over B * C.
Sources: Guo and Wang, CVPR 2021 (LTML: weights, compensation, consistency); Lin et al., ICCV 2017 (focal); Cui et al.,
CVPR 2019 (effective numbers); Wu et al., ECCV 2020 (distribution-balanced loss; scale 2 of the focal forms), the last
three as in the released code of Wu et al. Nothing is detached; weights depend on labels and counts alone.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor

from methods.losses.arguments import check_counts, check_label_sets, full_precision

FOCAL_SCALE = 2.0
"""What the released code of Wu et al. multiplies each of its focal losses with (`balance_param`)."""


class Compensation(NamedTuple):
    """Affine maps of a class's logit z, each part [C]: scale * z + shift where the label is there, and where not."""

    positive_scale: Float[Tensor, " classes"]
    positive_shift: Float[Tensor, " classes"]
    negative_scale: Float[Tensor, " classes"]
    negative_shift: Float[Tensor, " classes"]


def binary_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Float[Tensor, "batch classes"]
) -> Float[Tensor, ""]:
    """Return the mean of -y log sigma(z) - (1 - y) log(1 - sigma(z))."""
    check_label_sets(logits, labels)
    logits = full_precision(logits)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def weighted_binary_cross_entropy(
    logits: Float[Tensor, "batch classes"],
    labels: Float[Tensor, "batch classes"],
    counts: Num[Tensor, " classes"],
    images: int,
    compensation: Compensation | None = None,
) -> Float[Tensor, ""]:
    """Return LTML's classification loss (eq. 1), the mean of

    -w_k [y_k log sigma(sp_k z_k + mp_k) + (1 - y_k) log(1 - sigma(sn_k z_k + mn_k))], w_k as in `frequency_weights`.

    compensation: (sp, mp, sn, mn); None is scales of one and shifts of zero.
    """
    check_label_sets(logits, labels)
    logits = full_precision(logits)
    labels = labels.to(logits.dtype)
    positive = negative = logits
    if compensation is not None:
        positive = logits * compensation.positive_scale + compensation.positive_shift
        negative = logits * compensation.negative_scale + compensation.negative_shift
    # log(1 - sigma(z)) = log sigma(-z)
    terms = labels * F.logsigmoid(positive) + (1 - labels) * F.logsigmoid(-negative)
    return -(frequency_weights(labels, counts, images) * terms).mean()


def frequency_weights(
    labels: Float[Tensor, "batch classes"], counts: Num[Tensor, " classes"], images: int
) -> Float[Tensor, "batch classes"]:
    """Return w_k = y_k exp(1 - rho_k) + (1 - y_k) exp(rho_k), rho_k = N_k / N in 0..1.

    Rare labels weigh more, their absence less. Source: a summary of LTML; known from pedestrian attributes.
    """
    share = _shares(labels, counts, images)
    return labels * torch.exp(1 - share) + (1 - labels) * torch.exp(share)


def logit_consistency(
    logits: Float[Tensor, "batch classes"], others: Float[Tensor, "batch classes"]
) -> Float[Tensor, ""]:
    """Return LTML's consistency of two branches on the same images: mean of (z_k - z'_k)^2; gradients reach both."""
    if logits.shape != others.shape or logits.ndim != 2:
        raise ValueError(f"two branches' logits must be [B, C] both, not {tuple(logits.shape)}, {tuple(others.shape)}")
    return F.mse_loss(full_precision(logits), full_precision(others))


def focal(
    logits: Float[Tensor, "batch classes"], labels: Float[Tensor, "batch classes"], gamma: float = 2.0
) -> Float[Tensor, ""]:
    """Return the mean of 2 (1 - p_t)^gamma * BCE, p_t = exp(-BCE) the probability of the true answer."""
    check_label_sets(logits, labels)
    logits = full_precision(logits)
    return _focal_terms(logits, labels.to(logits.dtype), gamma).mean()


def class_balanced_focal(
    logits: Float[Tensor, "batch classes"],
    labels: Float[Tensor, "batch classes"],
    counts: Num[Tensor, " classes"],
    beta: float = 0.9,
    gamma: float = 2.0,
) -> Float[Tensor, ""]:
    """Return the focal loss of each image times the mean, over its labels, of (1 - beta) / (1 - beta^N_k).

    That mean is the released code's default (`average_w`). An image without labels weighs 1 - beta, the limit of
    a frequent label.
    """
    check_label_sets(logits, labels)
    check_counts(counts, logits.shape[1], positive=True)
    if not 0 < beta < 1:
        raise ValueError(f"beta must lie strictly between 0 and 1, not {beta}")
    logits = full_precision(logits)
    labels = labels.to(logits.dtype)
    counts = counts.to(device=logits.device, dtype=logits.dtype, non_blocking=True)
    effective = (1 - beta) / (1 - beta**counts)
    found = labels.sum(1)
    mean = (labels * effective).sum(1) / found.clamp_min(torch.finfo(logits.dtype).tiny)
    weight = torch.where(found > 0, mean, 1 - beta)
    return (weight[:, None] * _focal_terms(logits, labels, gamma)).mean()


def distribution_balanced(
    logits: Float[Tensor, "batch classes"],
    labels: Float[Tensor, "batch classes"],
    counts: Num[Tensor, " classes"],
    images: int,
    *,
    mu: float = 0.3,
    kappa: float = 5.0,
    alpha: float = 0.1,
    beta: float = 10.0,
    gamma: float = 2.0,
    bias: float = 0.05,
) -> Float[Tensor, ""]:
    """Return the distribution-balanced focal loss: re-balanced weights and negative-tolerant regularisation.

    rhat_k = alpha + sigma(beta (r_k - mu)), r_k = (1 / N_k) / sum_{j: y_j = 1} 1 / N_j for every class k; logits are
    moved by v_k = -log(N / N_k - 1) * bias / kappa, and those of absent labels multiplied with kappa, their weight
    with 1 / kappa. The mean of weight * 2 (1 - p_t)^gamma * BCE of these logits. mu, kappa: 0.3, 5 (VOC); 0.2, 2
    (COCO).
    An image without labels has r_k infinite, so rhat_k = alpha + 1. A label that all images have counts as N - 1/2.
    """
    check_label_sets(logits, labels)
    logits = full_precision(logits)
    labels = labels.to(logits.dtype)
    shares = _shares(labels, counts, images).clamp_max(1 - 0.5 / images)
    inverse = 1 / shares
    rebalanced = alpha + torch.sigmoid(beta * (inverse / (labels * inverse).sum(1, keepdim=True) - mu))
    moved = logits - torch.log(inverse - 1) * bias / kappa
    scaled = moved * (labels + (1 - labels) * kappa)
    weight = rebalanced * (labels + (1 - labels) / kappa)
    return (weight * _focal_terms(scaled, labels, gamma)).mean()


def _focal_terms(logits: Tensor, labels: Tensor, gamma: float) -> Float[Tensor, "batch classes"]:
    """Return 2 (1 - p_t)^gamma * BCE, element by element."""
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return FOCAL_SCALE * (-torch.expm1(-losses)) ** gamma * losses


def _shares(labels: Tensor, counts: Tensor, images: int) -> Float[Tensor, " classes"]:
    """Return rho_k = N_k / N of each class, in the labels' type."""
    check_counts(counts, labels.shape[1], positive=True)
    if images < 1 or (counts.device.type == "cpu" and bool((counts > images).any())):
        raise ValueError(f"label counts must lie in 1..{images}, the number of training images")
    return counts.to(device=labels.device, dtype=labels.dtype, non_blocking=True) / images
