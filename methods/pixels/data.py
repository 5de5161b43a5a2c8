"""Training data as the loop sees it, and its form in the device's memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from methods.core.stage import Augmentation
from methods.pixels.augment import augment


class TrainingData(Protocol):
    """A long-tailed training set; labels, counts, mean and std (of pixels scaled to 0..1) lie on the device.

    labels: class indices, or label sets of 0 and 1 (uint8 [N, C]) with their label counts.
    """

    @property
    def labels(self) -> Shaped[Tensor, " images *classes"]: ...

    @property
    def counts(self) -> Float[Tensor, " classes"]: ...

    @property
    def mean(self) -> Float[Tensor, " 3"]: ...

    @property
    def std(self) -> Float[Tensor, " 3"]: ...

    @property
    def device(self) -> torch.device:
        """The device to which batches are delivered."""
        ...

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of every batch, pixels."""
        ...

    def augmented(
        self, rows: Sequence[Int[Tensor, " batch"]], augmentation: Augmentation, generator: torch.Generator
    ) -> Iterator[UInt8[Tensor, "batch channels height width"]]:
        """Yield one augmented batch for each of `rows` (indices into the training set), in their order, on the device.

        Every draw comes from `generator`, for one batch when it is asked for.
        """
        ...


@dataclass(frozen=True)
class TrainingImages:
    """The training set on the device; mean and std are of pixels scaled to 0..1."""

    images: UInt8[Tensor, "images channels height width"]
    labels: Shaped[Tensor, " images *classes"]
    counts: Float[Tensor, " classes"]
    mean: Float[Tensor, " 3"]
    std: Float[Tensor, " 3"]

    @property
    def device(self) -> torch.device:
        return self.images.device

    @property
    def image_size(self) -> tuple[int, int]:
        height, width = self.images.shape[2:]
        return height, width

    def augmented(
        self, rows: Sequence[Int[Tensor, " batch"]], augmentation: Augmentation, generator: torch.Generator
    ) -> Iterator[UInt8[Tensor, "batch channels height width"]]:
        for batch in rows:
            yield augment(self.images[batch], augmentation, generator)
