"""What every network of experts is: a stem and shared stages, then each expert's own stages and head."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from methods.core.batch import ExpertOutput

Head = Callable[[int, int], nn.Module]
"""head(dim, classes) -> module of features [B, dim] -> logits [B, classes]."""


class ExpertNetwork(nn.Module):
    """Images [B, 3, H, W] -> ExpertOutput; each branch's last map is averaged over its pixels.

    Whoever makes it initialises the parts and then calls `add_heads`.
    """

    def __init__(self, stem: nn.Module, shared: nn.Module, branches: Iterable[nn.Module], dim: int) -> None:
        super().__init__()
        self.stem = stem
        self.shared = shared
        self.branches = nn.ModuleList(branches)
        self.dim = dim
        self.heads = nn.ModuleList()

    def add_heads(self, head: Head, classes: int) -> None:
        """Add one head for each branch."""
        self.heads.extend(head(self.dim, classes) for _ in self.branches)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> ExpertOutput:
        shared = self.shared(self.stem(images))
        features = [branch(shared).mean((2, 3)) for branch in self.branches]
        logits = [head(feature) for head, feature in zip(self.heads, features, strict=True)]
        return ExpertOutput(torch.stack(logits, 1), torch.stack(features, 1))
