"""Samplers: the order in which an epoch visits the training images, drawn on the generator's device.

Each is a pure function (labels [N], counts [C], generator) -> order [N] of indices into the training set. An epoch is
always N draws long. None makes the host wait for the device.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Sampler = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""sampler(labels [N], counts [C], generator) -> order [N], all on the generator's device."""


def instance(
    labels: Int[Tensor, " images"], counts: Float[Tensor, " classes"], generator: torch.Generator
) -> Int[Tensor, " images"]:
    """Instance-balanced: every image once, in random order."""
    return torch.randperm(len(labels), generator=generator, device=generator.device)


def class_balanced(
    labels: Int[Tensor, " images"], counts: Float[Tensor, " classes"], generator: torch.Generator
) -> Int[Tensor, " images"]:
    """Class-balanced: N times a class uniformly at random, then the next image of that class's shuffled cycle.

    counts must be those of `labels`; classes without images are left out. Each class is shuffled once an epoch
    (not again when its cycle ends). Source: RIDE's released training of its gate (Wang et al., ICLR 2021).
    """
    size, device = len(labels), labels.device
    counts = counts.long()
    present = counts.gt(0).long().argsort(descending=True, stable=True)
    uniform = torch.rand(size, generator=generator, device=device, dtype=torch.float64)
    classes = present[uniform.mul(counts.gt(0).sum()).long()]

    # how often each draw's class was drawn before it: ranks within runs of equal classes in a stable sort
    grouped, order = classes.sort(stable=True)
    drawn = torch.zeros_like(counts).scatter_add_(0, classes, torch.ones_like(classes))
    turn = torch.empty_like(order)
    turn[order] = torch.arange(size, device=device) - (drawn.cumsum(0) - drawn)[grouped]

    shuffled = torch.randperm(size, generator=generator, device=device)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    return by_class[(counts.cumsum(0) - counts)[classes] + turn % counts[classes]]
