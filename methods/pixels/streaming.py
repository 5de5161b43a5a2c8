"""Images streamed from where they lie: decoded and cropped by worker processes, a few batches ahead of the device.

What an image becomes depends on (seed, its place in the order) alone, so neither the number of workers nor the batch
size changes anything. At most `workers * AHEAD` batches and the one in use are decoded at a time, however large the
dataset is. A worker makes about 200 training crops of 224 pixels a second from JPEG files of 500 x 375.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from methods.core.stage import Augmentation
from methods.pixels.augment import augment
from methods.pixels.crops import Crop, rgb, training_crop, whole_training_crop
from methods.processes import distributed, parallel
from shifts.common.errors import WorkFailed
from shifts.images.imageset import ImageSet

AHEAD = 2
"""Batches that each worker has ready or in work."""
MOST_WORKERS = 16


def worker_count() -> int:
    """Return the number of workers: one for each processor allowed here, at most 16; torchrun's processes share it."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if distributed.world().size > 1:
        usable = max(1, usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return min(usable, MOST_WORKERS)


@dataclass(frozen=True)
class StreamedImages:
    """The long-tailed training set where it lies: images of any size, cropped to `size` pixels a side.

    indices: int64 [N] into `source`, in the order of `labels` (classes, or label sets of 0 and 1, uint8 [N, C]). mean
    and std are of pixels scaled to 0..1; they, labels and counts lie on the device.
    """

    source: ImageSet
    indices: Int[np.ndarray, " images"]
    size: int
    labels: Shaped[Tensor, " images *classes"]
    counts: Float[Tensor, " classes"]
    mean: Float[Tensor, " 3"]
    std: Float[Tensor, " 3"]
    whole: bool = False
    """Whether crops keep most of a picture (`crops.whole_training_crop`)."""

    @property
    def device(self) -> torch.device:
        """The device to which batches are delivered."""
        return self.labels.device

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of every crop."""
        return self.size, self.size

    def augmented(
        self, rows: Sequence[Int[Tensor, " batch"]], augmentation: Augmentation, generator: torch.Generator
    ) -> Iterator[UInt8[Tensor, "batch 3 size size"]]:
        """Yield one augmented batch for each of `rows` (indices into the training set), in their order, on the device.

        Crop, flip and colour jitter are the workers', from a seed drawn from `generator`; what else `augmentation`
        asks for follows on the device. Its padding is not used. In several processes each decodes its rows of every
        batch, and all get all of them. Raises WorkFailed for an unreadable image.
        """
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        form = whole_training_crop if self.whole else training_crop
        crop = partial(form, size=self.size, flip=augmentation.flip, jitter=augmentation.jitter)
        sizes = [len(batch) for batch in rows]
        places = np.split(self.indices[torch.cat(list(rows)).cpu().numpy()], np.cumsum(sizes)[:-1])
        rest = replace(augmentation, padding=0, flip=False)
        batches = stream(self.source, places, crop, seed, self.device, own=parallel.own_rows)
        for size in sizes:
            pixels = parallel.gathered(distributed.everywhere(lambda: next(batches)), size)
            more = rest.rotation or rest.autoaugment or rest.cutout
            yield augment(pixels, rest, generator) if more else pixels


def stream(
    images: ImageSet,
    batches: Iterable[Int[np.ndarray, " batch"]],
    crop: Crop,
    seed: int,
    device: torch.device,
    workers: int | None = None,
    own: Callable[[int], slice] = lambda size: slice(0, size),
) -> Iterator[UInt8[Tensor, "batch 3 size size"]]:
    """Yield cropped images, one batch for each of `batches` (indices into `images`), in their order, on the device.

    The crop of an image draws from a generator seeded by (seed, its place in the concatenated batches). workers: None
    for `worker_count`; 0 decodes in this process. own: the rows, of a batch of a given size,
    that are wanted. Raises WorkFailed for an image that cannot be read or decoded, and where a worker dies.
    """
    workers = worker_count() if workers is None else workers
    places = count()
    loader = DataLoader(
        _Cropped(images, crop, seed),
        batch_sampler=([(next(places), int(index)) for index in batch][own(len(batch))] for batch in batches),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
        prefetch_factor=AHEAD if workers else None,
        # Forked workers inherit the dataset; other ways of starting them would pickle it with its table.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )
    found = iter(loader)
    while True:
        try:
            batch = next(found, None)
        except RuntimeError as error:
            if not any(said in str(error) for said in ("DataLoader worker", "Pin memory thread")):
                raise
            reason = str(error).splitlines()[0]
            raise WorkFailed(f"{images.name} {images.split}: a process that decodes images died: {reason}") from error
        if batch is None:
            return
        if isinstance(batch, WorkFailed):
            raise batch
        yield batch.to(device, non_blocking=True)


class _Cropped(Dataset[Tensor | WorkFailed]):
    """(place, index) -> the crop of image `index`, uint8 [3, size, size], or why there is none."""

    def __init__(self, images: ImageSet, crop: Crop, seed: int) -> None:
        self.images = images
        self.crop = crop
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> Tensor | WorkFailed:
        place, index = key
        try:
            (pixels,) = self.images.decoded([index])
        except WorkFailed as failed:
            # Raised here it would reach the user as a worker's traceback.
            return failed
        cropped = self.crop(rgb(pixels), np.random.default_rng((self.seed, place)))
        return torch.from_numpy(np.array(cropped)).permute(2, 0, 1)


def _collate(items: list[Tensor | WorkFailed]) -> Tensor | WorkFailed:
    for item in items:
        if isinstance(item, WorkFailed):
            return item
    return torch.stack([item for item in items if isinstance(item, Tensor)])
