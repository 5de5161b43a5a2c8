"""Contracts of the middle floor: what a network returns, what a training stage is, what a method must say."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from methods.priors import ExpertPriors

if TYPE_CHECKING:
    from methods.recipe import Recipe


class ExpertOutput(NamedTuple):
    """What every network returns: scaled logits and pooled features of each expert."""

    logits: Float[Tensor, "batch experts classes"]
    features: Float[Tensor, "batch experts dim"]


@dataclass(frozen=True)
class NetworkSpec:
    """What a method needs to know to build its network: train counts by class; (height, width) in pixels."""

    backbone: str
    counts: tuple[int, ...]
    image_size: tuple[int, int]

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.counts)


@dataclass(frozen=True)
class Batch:
    """One augmented batch on the device, with the class counts [C] of the set that it was drawn from.

    With mixup, `images` are already mixed: `share` (0-dim tensor) of the image labelled `target`, the rest of
    the image labelled `partner`. Without it `partner` is None.
    """

    images: Float[Tensor, "batch channels height width"]
    target: Int[Tensor, " batch"]
    counts: Float[Tensor, " classes"]
    partner: Int[Tensor, " batch"] | None = None
    share: Float[Tensor, ""] | None = None

    def expect(self, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """share * loss(target) + (1 - share) * loss(partner): a loss under mixup (Zhang et al., ICLR 2018)."""
        if self.partner is None or self.share is None:
            return loss(self.target)
        return self.share * loss(self.target) + (1 - self.share) * loss(self.partner)


Step = Callable[[nn.Module, Sequence[Batch], int], dict[str, Tensor]]
"""step(network, batches, epoch from 0) -> {"loss": what is minimised, and its named parts}; one batch a sampler."""


@dataclass(frozen=True)
class Sgd:
    """Settings of stochastic gradient descent; weight decay covers every trained parameter."""

    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, lr * (e + 1) / warmup for e < warmup, then lr * factors[k] from epoch milestones[k] on."""

    warmup: int
    milestones: tuple[int, ...]
    factors: tuple[float, ...]

    def factor(self, epoch: int) -> float:
        """What the learning rate is multiplied with in `epoch` (from 0)."""
        if epoch < self.warmup:
            return (epoch + 1) / self.warmup
        passed = [factor for at, factor in zip(self.milestones, self.factors, strict=True) if epoch >= at]
        return passed[-1] if passed else 1.0


@dataclass(frozen=True)
class Augmentation:
    """Random crop after zero padding (pixels), horizontal flip, rotation by +-`rotation` degrees."""

    padding: int = 4
    flip: bool = True
    rotation: float = 15.0


def every_parameter(name: str) -> bool:
    """The default of `Stage.trainable`."""
    return True


@dataclass(frozen=True)
class Stage:
    """One phase of training: data plus one function. The loop knows stages, not methods.

    trainable: which parameters (by name) are trained. mixup: Beta(a, a) on the inputs, or None.
    """

    name: str
    epochs: int
    batch_size: int
    step: Step
    optimiser: Sgd
    schedule: Schedule
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixup: float | None = None
    trainable: Callable[[str], bool] = every_parameter


@dataclass(frozen=True)
class Method(ABC):
    """One paper. Subclasses are frozen dataclasses; their fields are the options that ride on the name."""

    name: ClassVar[str]
    version: ClassVar[int] = 1

    @abstractmethod
    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        """Label prior that each expert's softmax answers for, derived from its loss, for train counts [C]."""

    @abstractmethod
    def network(self, spec: NetworkSpec) -> nn.Module:
        """A freshly initialised network that maps images to an ExpertOutput."""

    @abstractmethod
    def stages(self, recipe: "Recipe") -> list[Stage]:
        """The training stages under a recipe, in order."""
