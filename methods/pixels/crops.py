"""Crops of images of any size to a square: what training, testing and views of 224-pixel data share, on one image.

Source: the ImageNet recipe of the released codes of RIDE and SADE: training takes a random resized crop (area 0.08-1,
side ratio 3/4-4/3), a flip, and colour jitter (brightness, contrast and saturation, in random order); testing resizes
the shorter side to 8/7 of the crop's (256 for 224) and takes the centre; SADE's views take a random resized crop of
area 0.2-1. All resizing is bilinear with antialiasing, on 8-bit pixels (Pillow).

Pictures of several things lose labels in such crops. The released code of Wu et al., ECCV 2020, takes them as a whole:
training a random part of at least 0.8 of each side, testing everything, resized without regard to the sides' ratio.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance

Crop = Callable[[Image.Image, np.random.Generator], Image.Image]
"""crop(RGB image, generator) -> square RGB image; every draw comes from the generator."""

TRAINING_AREA = (0.08, 1.0)
VIEW_AREA = (0.2, 1.0)
WHOLE_SIDE = 0.8
"""Least share of either side in a training crop of a whole picture."""
RATIO = (3 / 4, 4 / 3)
LOG_RATIO = (math.log(RATIO[0]), math.log(RATIO[1]))
ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def training_crop(
    image: Image.Image, generator: np.random.Generator, *, size: int, flip: bool, jitter: float
) -> Image.Image:
    """Crop at random, resize to `size` pixels a side; flip with probability 1/2 if `flip`; factors in 1 +- `jitter`."""
    return _flip_and_jitter(random_resized_crop(image, generator, size, TRAINING_AREA), generator, flip, jitter)


def whole_training_crop(
    image: Image.Image, generator: np.random.Generator, *, size: int, flip: bool, jitter: float
) -> Image.Image:
    """Crop at random at least 0.8 of each side, resize to a square of `size` pixels; then do as `training_crop`."""
    shares, places = generator.uniform(WHOLE_SIDE, 1, 2).tolist(), generator.random(2).tolist()
    lengths = [max(1, round(share * side)) for share, side in zip(shares, image.size, strict=True)]
    left, top = (int(at * (side - own + 1)) for at, side, own in zip(places, image.size, lengths, strict=True))
    box = (left, top, left + lengths[0], top + lengths[1])
    return _flip_and_jitter(image.resize((size, size), Image.Resampling.BILINEAR, box), generator, flip, jitter)


def whole_picture(image: Image.Image, generator: np.random.Generator, *, size: int) -> Image.Image:
    """Resize the whole picture to a square of `size` pixels; nothing is drawn."""
    return image.resize((size, size), Image.Resampling.BILINEAR)


def _flip_and_jitter(image: Image.Image, generator: np.random.Generator, flip: bool, jitter: float) -> Image.Image:
    mirrored, *uniform = generator.random(1 + len(ENHANCERS)).tolist()
    if flip and mirrored < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if jitter:
        for kind in generator.permutation(len(ENHANCERS)).tolist():
            image = ENHANCERS[kind](image).enhance(1 + jitter * (2 * uniform[kind] - 1))
    return image


def view_crop(image: Image.Image, generator: np.random.Generator, *, size: int) -> Image.Image:
    """Crop at random as SADE's views are, and resize to `size` pixels a side."""
    return random_resized_crop(image, generator, size, VIEW_AREA)


def centre_crop(image: Image.Image, generator: np.random.Generator, *, size: int) -> Image.Image:
    """Crop the centre `size` x `size` pixels after resizing the shorter side to round(8/7 size); nothing is drawn."""
    short = round(size * 8 / 7)
    width, height = image.size
    scale = short / min(width, height)
    width, height = max(short, int(scale * width)), max(short, int(scale * height))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def random_resized_crop(
    image: Image.Image, generator: np.random.Generator, size: int, area: tuple[float, float]
) -> Image.Image:
    """Crop a random part of the image, a share in `area` of its pixels, side ratio in 3/4-4/3, and resize it.

    Where ten draws do not fit into the image, its centre at the nearest allowed ratio is taken (torchvision's rule).
    """
    box = random_box(image.size, generator, area)
    return image.crop(box).resize((size, size), Image.Resampling.BILINEAR)


def random_box(
    sides: tuple[int, int], generator: np.random.Generator, area: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Draw (left, top, right, bottom) of a random part of an image of `sides` = (width, height) pixels."""
    width, height = sides
    shares, ratios = generator.uniform(*area, 10), generator.uniform(*LOG_RATIO, 10)
    for share, log_ratio in zip(shares.tolist(), ratios.tolist(), strict=True):
        pixels, ratio = share * width * height, math.exp(log_ratio)
        w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = int(generator.integers(width - w + 1))
            top = int(generator.integers(height - h + 1))
            return left, top, left + w, top + h
    w, h = width, height
    if width / height < RATIO[0]:
        h = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        w = round(height * RATIO[1])
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def rgb(pixels: UInt8[np.ndarray, "..."]) -> Image.Image:
    """Return a decoded image, [H, W] or [H, W, 3], as a Pillow image of three channels."""
    return Image.fromarray(pixels).convert("RGB")
