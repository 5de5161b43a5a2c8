"""A pool's images as normalised batches, clean or as random views: from memory, or streamed where the recipe resizes.

Memory holds images of one size at once; streamed, a few batches are decoded at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from methods.jobs.job import TrainingJob, normalisation, pixels
from methods.pixels.augment import to_float
from methods.pixels.crops import Crop, centre_crop, view_crop, whole_picture
from methods.pixels.streaming import stream
from methods.pixels.views import ViewDraw
from shifts.common.files import digest
from shifts.images.imageset import ImageSet

BATCH = {"cpu": 128, "cuda": 2048}
"""Images of at most `SIDE` pixels a side in a forward pass; larger batches are slower on a CPU."""
SIDE = 32
VIEW_BYTES = 2**29
"""Most memory that kept views take: four of 10,000 images of 32 x 32 pixels."""
STREAMED_BATCH = {"cpu": 32, "cuda": 256}
"""The same of images of any size, and the least of larger ones in memory."""
STREAMED_BLUR = 0.5
"""How probable blur is in views of 224-pixel images (released code of SADE)."""


class Pool(Protocol):
    """Images in order. A view's draws depend on its seed and each image's place, not on the batches."""

    def __len__(self) -> int: ...

    def clean(self) -> Iterator[Float[Tensor, "batch 3 height width"]]:
        """Yield the test images as they are."""
        ...

    def view(self, seed: int) -> Iterator[Float[Tensor, "batch 3 height width"]]:
        """Yield one random view of each image (`methods.pixels.views`)."""
        ...


@dataclass(frozen=True, eq=False)
class MemoryPool:
    """Images of one size on the device; views are kept for the next network, as far as `VIEW_BYTES` reach."""

    images: UInt8[Tensor, "images channels height width"]
    mean: Float[Tensor, " 3"]
    std: Float[Tensor, " 3"]
    kept: dict[int, list[Float[Tensor, "batch 3 height width"]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def clean(self) -> Iterator[Float[Tensor, "batch 3 height width"]]:
        for rows in self._batches():
            yield to_float(self.images[rows], self.mean, self.std)

    def view(self, seed: int) -> Iterator[Float[Tensor, "batch 3 height width"]]:
        if seed in self.kept:
            yield from self.kept[seed]
            return
        draw = ViewDraw(len(self), torch.Generator(self.images.device).manual_seed(seed))
        height, width = self.images.shape[2:]
        room = (len(self.kept) + 1) * len(self) * 3 * height * width * 4 <= VIEW_BYTES
        made = []
        for rows in self._batches():
            batch = normalise(draw.apply(self.images[rows], rows), self.mean, self.std)
            if room:
                made.append(batch)
            yield batch
        if room:
            self.kept[seed] = made

    def _batches(self) -> Iterator[slice]:
        device, pixels = self.images.device.type, self.images.shape[2] * self.images.shape[3]
        size = max(STREAMED_BATCH[device], BATCH[device] * SIDE**2 // max(pixels, SIDE**2))
        return (slice(start, start + size) for start in range(0, len(self), size))


@dataclass(frozen=True)
class StreamedPool:
    """Images of any size where they lie, cropped to `size` pixels a side; `chosen` are int64 indices into `source`."""

    source: ImageSet
    chosen: Int[np.ndarray, " images"]
    size: int
    mean: Float[Tensor, " 3"]
    std: Float[Tensor, " 3"]
    whole: bool = False
    """Whether clean images are whole pictures rather than their centres."""

    def __len__(self) -> int:
        return len(self.chosen)

    def clean(self) -> Iterator[Float[Tensor, "batch 3 height width"]]:
        crop = partial(whole_picture if self.whole else centre_crop, size=self.size)
        for images, _ in self._batches(crop, seed=0):
            yield to_float(images, self.mean, self.std)

    def view(self, seed: int) -> Iterator[Float[Tensor, "batch 3 height width"]]:
        generator = torch.Generator(self.mean.device).manual_seed(seed)
        draw = ViewDraw(len(self), generator, cropped=True, blur=STREAMED_BLUR)
        for images, rows in self._batches(partial(view_crop, size=self.size), seed):
            yield normalise(draw.apply(images, rows), self.mean, self.std)

    def _batches(self, crop: Crop, seed: int) -> Iterator[tuple[UInt8[Tensor, "batch 3 size size"], slice]]:
        device = self.mean.device
        size = STREAMED_BATCH[device.type]
        batches = [self.chosen[start : start + size] for start in range(0, len(self), size)]
        for number, images in enumerate(stream(self.source, batches, crop, seed, device)):
            yield images, slice(number * size, number * size + len(images))


class Pools:
    """Pools on one device, made once for all networks of a session that see the same images the same way."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._made: dict[str, Pool] = {}

    def of(self, job: TrainingJob, images: ImageSet, chosen: Int[np.ndarray, " images"]) -> Pool:
        """Return the chosen images (int64 indices) as the job's network is to see them.

        Raises WorkFailed for an image that cannot be decoded, at once or, where they are streamed, when it is reached.
        """
        mean, std = normalisation(job.dataset, self.device)
        if job.recipe.crop != "pad":
            return StreamedPool(images, chosen, job.recipe.size, mean, std, whole=job.recipe.crop == "whole")
        key = digest([images.fingerprint, chosen.tolist(), mean.tolist(), std.tolist()])
        if key not in self._made:
            self._made[key] = MemoryPool(pixels(images.images(chosen), self.device), mean, std)
        return self._made[key]


def normalise(
    values: Float[Tensor, "batch 3 height width"], mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"]
) -> Float[Tensor, "batch 3 height width"]:
    """Return (values - mean) / std of pixels in 0..1, channels last."""
    return ((values - mean[:, None, None]) / std[:, None, None]).contiguous(memory_format=torch.channels_last)
