"""Random views of unlabelled test images: SADE's test-time augmentation, batched on the device.

Source: Zhang et al., NeurIPS 2022, section 4, released code: random crop with padding 4; with probability 0.8 colour
jitter (brightness, contrast, saturation +-0.4, hue +-0.1, in random order); with probability 0.2 grey; with
probability 0.2 Gaussian blur, sigma uniform in (0.1, 2); horizontal flip; normalisation. Values stay floating point
between the steps where the released code rounds to 8 bits after each. On 224-pixel data the released script crops at
random and resizes (`methods.pixels.crops.view_crop`, area 0.2-1) instead of padding, and blurs with probability 0.5;
the rest is the same.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from methods.core.stage import Augmentation
from methods.pixels.augment import Geometry, random_geometry, transform

VIEWS_VERSION = 1
CROP_AND_FLIP = Augmentation(padding=4, flip=True, rotation=0.0)
LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601 weights of red, green and blue in grey (Pillow's)."""


class ViewDraw:
    """The random choices of one view for `size` images, drawn at once so that batch size changes nothing.

    cropped: the images are random crops already, so they are flipped only; blur: how probable it is.
    """

    def __init__(self, size: int, generator: torch.Generator, *, cropped: bool = False, blur: float = 0.2) -> None:
        self.padding = 0 if cropped else CROP_AND_FLIP.padding
        self.geometry = random_geometry(size, replace(CROP_AND_FLIP, padding=self.padding), generator)
        uniform = torch.rand(8, size, generator=generator, device=generator.device)
        self.jitter, self.grey, self.blur = uniform[0] < 0.8, uniform[1] < 0.2, uniform[2] < blur
        self.strength = 0.6 + 0.8 * uniform[3:6]
        self.hue = 0.2 * uniform[6] - 0.1
        self.sigma = 0.1 + 1.9 * uniform[7]
        self.order = torch.rand(4, size, generator=generator, device=generator.device).argsort(0)

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], chosen: slice
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return the view of `images`, which are those at `chosen`; values 0..1, not normalised."""
        geometry = Geometry(*(part[chosen] for part in self.geometry))
        values = transform(images, geometry, self.padding).expand(-1, 3, -1, -1).float() / 255
        jitter, order = self.jitter[chosen], self.order[:, chosen]
        for turn in range(4):
            for kind in range(4):
                rows = (jitter & (order[turn] == kind)).nonzero()[:, 0]
                if kind < 3:
                    factor = self.strength[kind, chosen][rows]
                    changed = (brightness, contrast, saturation)[kind](values[rows], factor)
                else:
                    changed = shift_hue(values[rows], self.hue[chosen][rows])
                values = values.index_copy(0, rows, changed)
        grey_rows = self.grey[chosen].nonzero()[:, 0]
        values = values.index_copy(0, grey_rows, luma(values[grey_rows]).expand(-1, 3, -1, -1))
        blur_rows = self.blur[chosen].nonzero()[:, 0]
        return values.index_copy(0, blur_rows, gaussian_blur(values[blur_rows], self.sigma[chosen][blur_rows]))


def luma(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Return the grey value of each pixel."""
    weights = torch.tensor(LUMA, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def brightness(images: Tensor, factor: Float[Tensor, " batch"]) -> Tensor:
    """Scale towards black by `factor`, clipped to 0..1."""
    return (images * factor[:, None, None, None]).clamp(0, 1)


def contrast(images: Tensor, factor: Float[Tensor, " batch"]) -> Tensor:
    """Scale about each image's mean grey value by `factor`, clipped to 0..1."""
    centre = luma(images).mean((2, 3), keepdim=True)
    return (centre + (images - centre) * factor[:, None, None, None]).clamp(0, 1)


def saturation(images: Tensor, factor: Float[Tensor, " batch"]) -> Tensor:
    """Scale about each pixel's grey value by `factor`, clipped to 0..1."""
    grey = luma(images)
    return (grey + (images - grey) * factor[:, None, None, None]).clamp(0, 1)


def shift_hue(images: Float[Tensor, "batch 3 height width"], turns: Float[Tensor, " batch"]) -> Tensor:
    """Turn the hue by `turns` of the colour circle, through hue, saturation and value."""
    red, green, blue = images.unbind(1)
    value, chroma = images.amax(1), images.amax(1) - images.amin(1)
    safe = chroma.clamp_min(1e-8)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue / 6 + turns[:, None, None]
    # f(n) = value - chroma * clip(min(k, 4 - k), 0, 1), k = (n + 6 hue) mod 6, for n = 5, 3, 1 (red, green, blue)
    offset = torch.tensor([5.0, 3.0, 1.0], device=images.device)[:, None, None]
    k = (offset + 6 * hue[:, None]) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def gaussian_blur(images: Float[Tensor, "batch 3 height width"], sigma: Float[Tensor, " batch"]) -> Tensor:
    """Blur with a Gaussian of its own sigma (pixels) for each image; edge pixels are repeated outwards."""

    def kernel(side: int) -> Tensor:
        at = torch.arange(side, device=images.device)
        reach = torch.arange(-side, 2 * side, device=images.device)
        weight = torch.exp(-0.5 * ((at[:, None] - reach) / sigma[:, None, None]) ** 2)
        weight = weight / weight.sum(2, keepdim=True)
        folded = torch.zeros(len(sigma), side, side, device=images.device)
        return folded.index_add(2, reach.clamp(0, side - 1), weight)

    height, width = images.shape[2:]
    vertical, horizontal = kernel(height)[:, None], kernel(width)[:, None]
    return vertical @ images @ horizontal.transpose(2, 3)
