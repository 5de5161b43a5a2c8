"""Batches, targets and what a network of experts gives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class ExpertOutput(NamedTuple):
    """What every network returns: scaled logits and pooled features of each expert."""

    logits: Float[Tensor, "batch experts classes"]
    features: Float[Tensor, "batch experts dim"]


@dataclass(frozen=True)
class NetworkSpec:
    """What a method needs to know to build its network: train counts by class; (height, width) in pixels.

    pretrained: file of the weights that trunk and branches start from, or None.
    """

    backbone: str
    counts: tuple[int, ...]
    image_size: tuple[int, int]
    pretrained: Path | None = None

    @property
    def classes(self) -> int:
        """The number of classes C."""
        return len(self.counts)


Target = Int[Tensor, " batch"] | Float[Tensor, "batch classes"]
"""Class indices, or label sets of 0 and 1."""


@dataclass(frozen=True)
class Batch:
    """One augmented batch on the device, with the class counts [C] of the set that it was drawn from.

    `population` is the number N of images in that set. For label sets `target` is float32 [batch, C] of 0 and 1, and
    `counts` are label counts, which do not add up to N.
    With mixup, `images` are already mixed: `share` (0-dim tensor) of the image labelled `target`, the rest of
    the image labelled `partner`. Without it `partner` is None. In a stage with `cached`, `output` is what the frozen
    network made of the augmented images, and `images` is empty. A step that draws random numbers draws them from
    `generator` (seeded by seed, stage and epoch, on the device), so that a resumed run draws the same.
    """

    images: Float[Tensor, "batch channels height width"]
    target: Target
    counts: Float[Tensor, " classes"]
    partner: Target | None = None
    share: Float[Tensor, ""] | None = None
    output: ExpertOutput | None = None
    generator: torch.Generator | None = None
    population: int = 0

    def expect(self, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Return share * loss(target) + (1 - share) * loss(partner): a loss under mixup (Zhang et al., ICLR 2018)."""
        if self.partner is None or self.share is None:
            return loss(self.target)
        return self.share * loss(self.target) + (1 - self.share) * loss(self.partner)
