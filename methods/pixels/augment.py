"""Batched augmentation on the device: crop, flip and rotation are one gather on uint8 pixels.

Source: the CIFAR recipe that RIDE, SADE and BalPoE share (random crop with zero padding 4, horizontal flip, rotation
+-15 degrees, nearest neighbour, zero fill), in that order. The padding is black *before* normalisation.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from methods.core.stage import Augmentation
from methods.pixels.autoaugment import autoaugment


class Geometry(NamedTuple):
    """One image's crop offsets (pixels, 0..2*padding), flip, and counter-clockwise angle (degrees), for a batch."""

    dy: Int[Tensor, " batch"]
    dx: Int[Tensor, " batch"]
    flip: Bool[Tensor, " batch"]
    angle: Float[Tensor, " batch"]


def augment(
    images: UInt8[Tensor, "batch channels height width"], augmentation: Augmentation, generator: torch.Generator
) -> UInt8[Tensor, "batch channels height width"]:
    """Apply every step of `augmentation` in order, each image with its own draws from `generator` (on the device)."""
    geometry = random_geometry(len(images), augmentation, generator)
    images = transform(images, geometry, augmentation.padding)
    if augmentation.autoaugment:
        images = autoaugment(images, generator)
    return cut_out(images, augmentation.cutout, generator) if augmentation.cutout else images


def random_geometry(size: int, augmentation: Augmentation, generator: torch.Generator) -> Geometry:
    """Draw `size` independent geometries on the generator's device."""
    device = generator.device
    offsets = torch.randint(
        2 * augmentation.padding + 1, (2, size), generator=generator, device=device, dtype=torch.int64
    )
    uniform = torch.rand(2, size, generator=generator, device=device)
    flip = (uniform[0] < 0.5) if augmentation.flip else torch.zeros(size, dtype=torch.bool, device=device)
    return Geometry(offsets[0], offsets[1], flip, (uniform[1] * 2 - 1) * augmentation.rotation)


def transform(
    images: UInt8[Tensor, "batch channels height width"], geometry: Geometry, padding: int
) -> UInt8[Tensor, "batch channels height width"]:
    """Crop (after zero padding by `padding`), then flip, then rotate about the centre: one gather, zero fill.

    Agrees with the same three steps done one after the other by Pillow but for rounding at cell borders.
    """
    batch, channels, height, width = images.shape
    device = images.device
    row = torch.arange(height, device=device).float().add(0.5 - height / 2)[:, None]
    column = torch.arange(width, device=device).float().add(0.5 - width / 2)
    angle = -geometry.angle.mul(math.pi / 180)[:, None, None]
    cos, sin = angle.cos(), angle.sin()
    x = (cos * column + sin * row + width / 2).floor().long()
    y = (-sin * column + cos * row + height / 2).floor().long()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x = torch.where(geometry.flip[:, None, None], width - 1 - x, x)
    x = x + geometry.dx[:, None, None] - padding
    y = y + geometry.dy[:, None, None] - padding
    inside &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
    source = (y * width + x).where(inside, 0).view(batch, 1, -1).expand(-1, channels, -1)
    pixels = images.flatten(2).gather(2, source).view(images.shape)
    return pixels * inside[:, None]


def cut_out(
    images: UInt8[Tensor, "batch channels height width"], side: int, generator: torch.Generator
) -> UInt8[Tensor, "batch channels height width"]:
    """Blacken one square a image: centre uniform over the pixels, `side` pixels, clipped at the borders.

    Source: DeVries and Taylor, 2017; rows (and columns) from centre - side // 2 up to before centre + side // 2.
    """

    def outside(length: int) -> Tensor:
        centre = torch.randint(length, (len(images), 1), generator=generator, device=images.device)
        offset = torch.arange(length, device=images.device) - centre
        return (offset < -(side // 2)) | (offset >= side // 2)

    height, width = images.shape[2:]
    return images * (outside(height)[:, None, :, None] | outside(width)[:, None, None, :])


def to_float(
    images: UInt8[Tensor, "batch channels height width"],
    mean: Float[Tensor, " 3"],
    std: Float[Tensor, " 3"],
) -> Float[Tensor, "batch 3 height width"]:
    """Turn pixels 0..255 into (value / 255 - mean) / std, grey images repeated to three channels, channels last."""
    values = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last).float()
    return values.mul_((1 / (255 * std))[:, None, None]).sub_((mean / std)[:, None, None])
