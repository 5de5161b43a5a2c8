"""What loaders give, as images, labels and names; pixels as the model wants them; random views of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from methods.pixels.crops import view_crop
from methods.pixels.views import VIEWS_VERSION, ViewDraw
from methods.training.loop import derived_seed
from shifts.common.errors import BadInput, WorkFailed

IMAGES = ("pixel_values", "images", "image", "img", "pixels", "x", "input")
LABELS = ("labels", "label", "targets", "target", "y")
IDS = ("ids", "id", "file_names", "file_name", "paths", "path")
"""Keys of a batch that is a dictionary."""
SMALL = 64
"""Sides up to which views are padded and cropped; of larger images a random part is resized, as for 224 pixels."""
DRAWN_AT_ONCE = 4096
"""Images of which a view's random choices are drawn together, so that the size of batches changes nothing."""
LARGE_BLUR = 0.5
_SAMPLED = 997
"""About as many numbers of an image tell it from others."""


class Seen(NamedTuple):
    """One batch of a loader; labels and ids are None where it has none."""

    images: Tensor
    labels: Int[np.ndarray, " batch"] | None
    ids: list[str] | None


def seen(batch: object) -> Seen:
    """Return what is in a batch: a tensor of images, (images, labels or names, ...), or a dictionary of these.

    Raises BadInput for anything else, and WorkFailed that a loader gave in place of a batch.
    """
    if isinstance(batch, WorkFailed):
        raise batch
    if isinstance(batch, Mapping):
        key = next((name for name in IMAGES if name in batch), None)
        if key is None:
            raise BadInput(f"a batch has {', '.join(map(str, batch))}; images are looked for as {', '.join(IMAGES)}")
        labels = next((batch[name] for name in LABELS if name in batch), None)
        ids = next((batch[name] for name in IDS if name in batch), None)
        parts: Sequence[Any] = [part for part in (batch[key], labels, ids) if part is not None]
    elif isinstance(batch, tuple | list):
        parts = batch
    else:
        parts = [batch]
    images = parts[0] if len(parts) else None
    if not isinstance(images, Tensor) or images.ndim < 2:
        raise BadInput(f"a batch is {_told(batch)}, not images [batch, ...] or (images, labels)")
    found = Seen(images, None, None)
    for part in parts[1:]:
        if part is None:
            continue
        if isinstance(part, list | tuple) and all(isinstance(one, str) for one in part) and len(part) == len(images):
            found = found._replace(ids=[*part])
        elif found.labels is None and (labels := _labels(part, len(images))) is not None:
            found = found._replace(labels=labels)
        else:
            raise BadInput(f"beside {len(images)} images a batch has {_told(part)}, neither labels nor names")
    return found


def _labels(part: object, images: int) -> Int[np.ndarray, " batch"] | None:
    """Return whole numbers, one an image; None for anything else."""
    try:
        array = part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part)
    except (TypeError, ValueError):
        return None
    return array.astype(np.int64) if array.shape == (images,) and array.dtype.kind in "iu" else None


def _told(part: object) -> str:
    if isinstance(part, Tensor):
        return f"{str(part.dtype).removeprefix('torch.')}{list(part.shape)}"
    if isinstance(part, tuple | list):
        return f"{type(part).__name__} of {', '.join(_told(one) for one in part[:4])}"
    return type(part).__name__


@dataclass(frozen=True)
class Normalisation:
    """Pixels in 0..1 -> what the model was trained on: (pixels - mean) / std, for each channel or for all."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, mean: ArrayLike | None, std: ArrayLike | None) -> "Normalisation | None":
        """Return the normalisation, None where nothing is given. Raises BadInput for half of it or odd numbers."""
        if mean is None and std is None:
            return None
        if mean is None or std is None:
            raise BadInput(f"{'mean' if mean is None else 'std'} is needed too: (pixels in 0..1 - mean) / std")
        given = [np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in (mean, std)]
        if any(value.ndim != 1 or not np.isfinite(value).all() for value in given) or (given[1] <= 0).any():
            raise BadInput("mean and std must be one number a channel, std above 0")
        return cls(tuple(given[0].tolist()), tuple(given[1].tolist()))

    def __call__(self, pixels: Float[Tensor, "batch channels height width"]) -> Tensor:
        mean, std = (torch.tensor(value, device=pixels.device)[:, None, None] for value in (self.mean, self.std))
        return (pixels - mean) / std


def pixels(images: Tensor) -> Float[Tensor, "batch channels height width"]:
    """Return images in 0..1, of bytes or of numbers there. Raises BadInput for others."""
    if images.ndim != 4:
        raise BadInput(f"images are {_told(images)}, not [batch, channels, height, width]")
    if images.dtype == torch.uint8:
        return images.float() / 255
    low, high = images.min().item(), images.max().item()
    if low < -1e-4 or high > 1 + 1e-4:
        raise BadInput(
            f"images lie in {low:.3g}..{high:.3g}, not 0..1: with mean and std they come before normalisation"
        )
    return images.float()


def sample(images: Tensor) -> bytes:
    """Return some numbers of each image, which tell images and their order from others, whatever the batches."""
    flat = images.reshape(len(images), -1)
    step = max(1, flat.shape[1] // _SAMPLED)
    return flat[:, ::step].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()


@dataclass
class Views:
    """Random views of images at their places; what is drawn depends on seed and place, not on the batches."""

    _drawn: dict[tuple[int, bool, int], ViewDraw] = field(default_factory=dict)

    def of(
        self, images: UInt8[Tensor, "batch 3 height width"], start: int, seed: int
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return one view of each image in 0..1; start: place of the first one.

        Images larger than 64 pixels are cropped on the processor, one by one. Raises BadInput where these are not
        square, and for images without colours.
        """
        _, channels, height, width = images.shape
        if channels != 3:
            raise BadInput(f"views need images of 3 channels, not {channels}")
        large = max(height, width) > SMALL
        if large:
            if height != width:
                raise BadInput(f"views of images larger than {SMALL} pixels need square ones, not {height} x {width}")
            images = _cropped(images, start, seed)
        made = []
        for block in range(start // DRAWN_AT_ONCE, (start + len(images) - 1) // DRAWN_AT_ONCE + 1):
            first = block * DRAWN_AT_ONCE
            places = slice(max(start - first, 0), min(start + len(images) - first, DRAWN_AT_ONCE))
            rows = slice(first + places.start - start, first + places.stop - start)
            made.append(self._draw(block, large, seed, images.device).apply(images[rows], places))
        return torch.cat(made)

    def _draw(self, block: int, large: bool, seed: int, device: torch.device) -> ViewDraw:
        key = block, large, seed
        if key not in self._drawn:
            self._drawn = {kept: draw for kept, draw in self._drawn.items() if kept[0] >= block - 1}
            generator = torch.Generator(device).manual_seed(derived_seed(seed, block))
            more: dict[str, Any] = {"cropped": True, "blur": LARGE_BLUR} if large else {}
            self._drawn[key] = ViewDraw(DRAWN_AT_ONCE, generator, **more)
        return self._drawn[key]


def view_seed(pair: int, view: int) -> int:
    """Return the seed of a view: the same for every model."""
    return derived_seed("view", VIEWS_VERSION, pair, view)


def _cropped(images: UInt8[Tensor, "batch 3 size size"], start: int, seed: int) -> UInt8[Tensor, "batch 3 size size"]:
    crops = []
    for place, image in enumerate(images.permute(0, 2, 3, 1).cpu().numpy(), start):
        crop = view_crop(Image.fromarray(image), np.random.default_rng((seed, place)), size=image.shape[0])
        crops.append(torch.from_numpy(np.array(crop)))
    return torch.stack(crops).permute(0, 3, 1, 2).contiguous().to(images.device)
