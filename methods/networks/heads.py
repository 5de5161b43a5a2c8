"""Classifier heads: features [B, D] -> logits [B, C]."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SCALE = 30.0
"""Scale s of the cosine classifier, applied inside the model (LDAM, RIDE, SADE, BalPoE)."""


class CosineHead(nn.Module):
    """Cosine ("normed") classifier without bias: s * <x / |x|, w_c / |w_c|>; weight [D, C].

    Source: Cao et al., NeurIPS 2019; released RIDE code (specs of its ResNet-32). Columns start uniform in
    (-1, 1) and renormalised to unit length.
    """

    def __init__(self, dim: int, classes: int, scale: float = SCALE) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(F.normalize(torch.empty(dim, classes).uniform_(-1, 1), dim=0))

    def forward(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        return self.scale * (F.normalize(features, dim=1) @ F.normalize(self.weight, dim=0))


def linear_head(dim: int, classes: int) -> nn.Linear:
    """Return a linear classifier with bias, Kaiming-normal weights (fan in) and PyTorch's default bias."""
    head = nn.Linear(dim, classes)
    nn.init.kaiming_normal_(head.weight)
    return head


def small_linear_head(dim: int, classes: int) -> nn.Linear:
    """Return a linear classifier with bias; weights from N(0, 0.01^2), bias 0: every sigmoid starts near one half.

    Source: released code of Wu et al., ECCV 2020.
    """
    head = nn.Linear(dim, classes)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return head
