"""Samplers: the order in which an epoch visits the training images, drawn on the generator's device.

Each is a pure function (labels [N] or [N, C], counts [C], generator) -> order [N] of indices into the training set. An
epoch is always N draws long. None makes the host wait for the device.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

Sampler = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""sampler(labels [N] or label sets [N, C], counts [C], generator) -> order [N], all on the generator's device."""


def instance(
    labels: Int[Tensor, " images *classes"], counts: Float[Tensor, " classes"], generator: torch.Generator
) -> Int[Tensor, " images"]:
    """Draw instance-balanced: every image once, in random order."""
    return torch.randperm(len(labels), generator=generator, device=generator.device)


def class_balanced(
    labels: Int[Tensor, " images"], counts: Float[Tensor, " classes"], generator: torch.Generator
) -> Int[Tensor, " images"]:
    """Draw class-balanced: N times a class uniformly at random, then the next image of that class's shuffled cycle.

    counts must be those of `labels`; classes without images are left out. Each class is shuffled once an epoch
    (not again when its cycle ends). Source: RIDE's released training of its gate (Wang et al., ICLR 2021).
    """
    size, device = len(labels), labels.device
    counts = counts.long()
    classes = _random_classes(size, counts, generator)
    turn = _turns(classes, len(counts))
    shuffled = torch.randperm(size, generator=generator, device=device)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    return by_class[(counts.cumsum(0) - counts)[classes] + turn % counts[classes]]


def class_aware(
    labels: UInt8[Tensor, "images classes"], counts: Float[Tensor, " classes"], generator: torch.Generator
) -> Int[Tensor, " images"]:
    """Draw class-aware, for label sets: N times a class uniformly at random, then the next image of its shuffled cycle.

    An image comes up for one label with probability (1/K) (1/N_k). counts must be those of `labels`; classes without
    images are left out. Each class is shuffled once an epoch (not again when its cycle ends). Source: Shen et al.,
    ECCV 2016; Wu et al., ECCV 2020, whose released sampler goes through the classes in a shuffled cycle, takes three
    images of a class in a row, and makes epochs of max_k N_k * K / 4 draws.
    """
    counts = counts.long()
    classes = _random_classes(len(labels), counts, generator)
    # absent images behind those of the class, which come in random order
    keys = torch.rand(labels.shape[1], len(labels), generator=generator, device=labels.device)
    cycles = keys.add_(labels.T == 0).argsort(1)
    return cycles[classes, _turns(classes, len(counts)) % counts[classes]]


def _random_classes(size: int, counts: Int[Tensor, " classes"], generator: torch.Generator) -> Int[Tensor, " size"]:
    """Draw classes that have images, each equally likely, independent of one another."""
    present = counts.gt(0).long().argsort(descending=True, stable=True)
    uniform = torch.rand(size, generator=generator, device=counts.device, dtype=torch.float64)
    return present[uniform.mul(counts.gt(0).sum()).long()]


def _turns(classes: Int[Tensor, " draws"], number: int) -> Int[Tensor, " draws"]:
    """Count how often each draw's class was drawn before it: ranks within runs of equal classes in a stable sort."""
    grouped, order = classes.sort(stable=True)
    drawn = torch.zeros(number, dtype=torch.int64, device=classes.device)
    drawn.scatter_add_(0, classes, torch.ones_like(classes))
    turn = torch.empty_like(order)
    turn[order] = torch.arange(len(classes), device=classes.device) - (drawn.cumsum(0) - drawn)[grouped]
    return turn
