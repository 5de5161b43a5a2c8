"""Contracts of the middle floor: what a network returns, what a training stage is, what a method must say."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from methods.core.batch import Batch
from methods.core.samplers import Sampler, instance

Step = Callable[[nn.Module, Sequence[Batch], int], dict[str, Tensor]]
"""step(network, batches, epoch from 0) -> {"loss": what is minimised, and its named parts}; one batch a sampler."""


@dataclass(frozen=True)
class Sgd:
    """Settings of stochastic gradient descent; weight decay covers every trained parameter.

    trunk: learning rate of convolutions and BatchNorm, relative to that of everything else (heads). clip: largest
    Euclidean norm of a step's gradient, over all parameters; 0 = no limit.
    """

    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    trunk: float = 1.0
    clip: float = 0.0


class LearningRate(Protocol):
    """Any learning-rate schedule, constant within an epoch."""

    def factor(self, epoch: int) -> float:
        """Return the factor of the learning rate in `epoch` (from 0)."""
        ...


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, lr * (e + 1) / warmup for e < warmup, then lr * factors[k] from epoch milestones[k] on."""

    warmup: int
    milestones: tuple[int, ...]
    factors: tuple[float, ...]

    def factor(self, epoch: int) -> float:
        """Return the factor of the learning rate in `epoch` (from 0)."""
        if epoch < self.warmup:
            return (epoch + 1) / self.warmup
        passed = [factor for at, factor in zip(self.milestones, self.factors, strict=True) if epoch >= at]
        return passed[-1] if passed else 1.0


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up over `warmup` >= 2 epochs W, then a cosine towards zero at `epochs`, T.

    The factor of the peak is base + (1 - base) / (W - 1) * (e - 1) for e < W, then
    (1 + cos(pi * (e - W) / (T - W))) / 2. base: learning rate in epoch 1, as a share of the peak.
    Where W is more than half of T, the same ramp is gone through in the first half.
    Source: the released code of SHIKE (Jin et al., CVPR 2023), which has W = 5 and T = 180 or 20.
    """

    epochs: int
    base: float
    warmup: int = 5

    def factor(self, epoch: int) -> float:
        """Return the factor of the learning rate in `epoch` (from 0)."""
        warmup = min(self.warmup, self.epochs // 2)
        if epoch < warmup:
            return self.base + (1 - self.base) / (self.warmup - 1) * (epoch * self.warmup / warmup - 1)
        return (1 + math.cos(math.pi * (epoch - warmup) / (self.epochs - warmup))) / 2


@dataclass(frozen=True)
class Augmentation:
    """Random crop after zero padding (pixels), horizontal flip, rotation by +-`rotation` degrees, in this order.

    Then AutoAugment's policy for CIFAR-10, and a black square of side `cutout` (pixels, 0 = none), where asked for.
    Streamed images get a random resized crop instead of the padded one, and colour `jitter` (its strength) after the
    flip.
    """

    padding: int = 4
    flip: bool = True
    rotation: float = 15.0
    autoaugment: bool = False
    cutout: int = 0
    jitter: float = 0.0


def every_parameter(name: str) -> bool:
    """Accept every parameter: the default of `Stage.trainable`."""
    return True


@dataclass(frozen=True)
class Stage:
    """One phase of training: data plus one function. The loop knows stages, not methods.

    trainable: which parameters (by name) are trained. mixup: Beta(a, a) on the inputs, or None.
    samplers: the step gets one batch of each; all orders are as long as the training set.
    freeze: modules whose parameters are all untrained are in evaluation mode, so BatchNorm statistics stay too.
    cached: what the network makes of every training image, augmented once, is computed without gradient when an
    epoch starts, and batches index that; repeated images of one epoch share their augmentation. It needs `freeze`
    (what is cached must not change within the epoch) and no mixup.
    switches: epochs (from 0) from which the step does something else; between them it does not depend on the epoch.
    fine_tune: stem and first shared stage are not trained, and all BatchNorm keeps its statistics.
    warmup_steps: over so many first steps the learning rate also rises, linearly from a third of the schedule's.
    """

    name: str
    epochs: int
    batch_size: int
    step: Step
    optimiser: Sgd
    schedule: LearningRate
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixup: float | None = None
    trainable: Callable[[str], bool] = every_parameter
    samplers: tuple[Sampler, ...] = (instance,)
    freeze: bool = False
    cached: bool = False
    switches: tuple[int, ...] = ()
    fine_tune: bool = False
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if not self.samplers or (self.cached and (self.mixup is not None or not self.freeze)):
            raise ValueError(f"stage {self.name}: needs a sampler; `cached` needs `freeze` and no mixup")

    def rate(self, epoch: int, step: int) -> float:
        """Return the learning rate in `epoch`, which is `step` steps after the stage's begin (both from 0)."""
        rising = 1 / 3 + 2 / 3 * step / self.warmup_steps if step < self.warmup_steps else 1.0
        return self.optimiser.lr * self.schedule.factor(epoch) * rising
