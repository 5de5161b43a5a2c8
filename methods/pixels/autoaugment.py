"""AutoAugment's policy for CIFAR-10 (Cubuk et al., CVPR 2019), batched on uint8 pixels on the device.

Each image draws one of 25 sub-policies: two operations in order, each applied with its probability at its level (0..9).
As in the released code of SHIKE (Jin et al., CVPR 2023), with Pillow's semantics: geometric operations take the nearest
pixel (the released shears interpolate bicubically: about 3 % of images differ) and fill with 128; translations, shears
and the enhancements (1 +- strength) have a random sign; rotation is always counter-clockwise. Grey images [B, 1, H, W]
give what three equal channels would.
"""

import math
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

FILL = 128

# operation, probability, level; two a sub-policy
POLICY = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
)

STRENGTH: dict[str, Callable[[int], float]] = {
    "shear_y": lambda level: 0.3 * level / 9,
    "translate_x": lambda level: 150 / 331 * level / 9,
    "translate_y": lambda level: 150 / 331 * level / 9,
    "rotate": lambda level: 30 * level / 9,
    "color": lambda level: 0.9 * level / 9,
    "sharpness": lambda level: 0.9 * level / 9,
    "contrast": lambda level: 0.9 * level / 9,
    "brightness": lambda level: 0.9 * level / 9,
    "posterize": lambda level: round(8 - 4 * level / 9),
    "solarize": lambda level: 256 - 256 * level / 9,
    "autocontrast": lambda level: 0,
    "equalize": lambda level: 0,
    "invert": lambda level: 0,
}
"""Level to strength: shear, share of the side, degrees (counter-clockwise), distance of a factor from 1, bits kept,
threshold. The order numbers the operations."""

INDEX = {name: number for number, name in enumerate(STRENGTH)}
SIGNED = frozenset(("shear_y", "translate_x", "translate_y", "color", "sharpness", "contrast", "brightness"))
WARPS = ("shear_y", "translate_x", "translate_y", "rotate")
TABLES = ("contrast", "brightness", "posterize", "solarize", "autocontrast", "equalize", "invert")
NONE = -1


def autoaugment(
    images: UInt8[Tensor, "batch channels height width"], generator: torch.Generator
) -> UInt8[Tensor, "batch channels height width"]:
    """Apply a random sub-policy to each image; draws come from `generator`, on its device."""
    device, size = images.device, len(images)
    operations, probabilities, strengths, signed = _policy(device)
    chosen = torch.randint(len(POLICY), (size,), generator=generator, device=device)
    uniform = torch.rand(2, size, 2, generator=generator, device=device)
    operation = operations[chosen].where(uniform[0] < probabilities[chosen], NONE)
    flipped = signed[chosen] & (uniform[1] < 0.5)
    strength = strengths[chosen] * torch.where(flipped, -1.0, 1.0)
    for slot in range(2):
        images = apply(images, operation[:, slot], strength[:, slot])
    return images


def apply(
    images: UInt8[Tensor, "batch channels height width"],
    operation: Int[Tensor, " batch"],
    strength: Float[Tensor, " batch"],
) -> UInt8[Tensor, "batch channels height width"]:
    """Apply to each image its operation (`INDEX`, or NONE) at a strength in the units of `STRENGTH`, signed."""
    images = _change(images, _among(operation, WARPS), lambda part, rows: _warp(part, operation[rows], strength[rows]))
    images = _change(
        images,
        _among(operation, TABLES),
        lambda part, rows: _look_up(part, _table(part, operation[rows], strength[rows])),
    )
    images = _change(
        images, operation == INDEX["color"], lambda part, rows: _blend(luma(part), part, 1 + strength[rows])
    )
    return _change(
        images, operation == INDEX["sharpness"], lambda part, rows: _blend(_smooth(part), part, 1 + strength[rows])
    )


def luma(images: UInt8[Tensor, "batch channels height width"]) -> UInt8[Tensor, "batch 1 height width"]:
    """Return Pillow's grey value of each pixel: ITU-R 601 weights in 16-bit fixed point, rounded."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.int().unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).to(torch.uint8)[:, None]


@cache
def _policy(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return operations, probabilities, strengths and signedness, each [25, 2], copied to the device once."""
    operations = torch.tensor([[INDEX[name] for name, _, _ in pair] for pair in POLICY])
    probabilities = torch.tensor([[probability for _, probability, _ in pair] for pair in POLICY])
    strengths = torch.tensor(
        [[STRENGTH[name](level) for name, _, level in pair] for pair in POLICY], dtype=torch.float64
    )
    signed = torch.tensor([[name in SIGNED for name, _, _ in pair] for pair in POLICY])
    return operations.to(device), probabilities.to(device), strengths.to(device), signed.to(device)


def _among(operation: Int[Tensor, " batch"], names: tuple[str, ...]) -> Bool[Tensor, " batch"]:
    return torch.stack([operation == INDEX[name] for name in names]).any(0)


def _change(images: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return change(images, rows) of the chosen images, the rest as it is."""
    if images.device.type != "cpu":
        # all images: to ask which ones are chosen would make the host wait for the device
        rows = torch.arange(len(images), device=images.device)
        return torch.where(chosen[:, None, None, None], change(images, rows), images)
    rows = chosen.nonzero()[:, 0]
    return images.index_copy(0, rows, change(images[rows], rows))


def _warp(images: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """Shear, translate or rotate (about the centre): take the pixel nearest to where each output centre comes from."""
    _, channels, height, width = images.shape

    def of(name: str) -> Tensor:
        return strength.float().where(operation == INDEX[name], 0.0)[:, None, None]

    row = torch.arange(height, device=images.device).float().add(0.5 - height / 2)[:, None]
    column = torch.arange(width, device=images.device).float().add(0.5 - width / 2)
    angle = -of("rotate") * (math.pi / 180)
    x = angle.cos() * column + angle.sin() * row + width / 2 + of("translate_x") * width
    y = -angle.sin() * column + angle.cos() * row + height / 2 + of("translate_y") * height
    y = y + of("shear_y") * (column + width / 2)
    x, y = x.floor().long(), y.floor().long()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    source = (y * width + x).where(inside, 0).flatten(1)[:, None].expand(-1, channels, -1)
    return images.flatten(2).gather(2, source).view(images.shape).where(inside[:, None], FILL)


def _look_up(images: Tensor, table: UInt8[Tensor, "batch channels 256"]) -> Tensor:
    """Return each pixel's entry in its image's and channel's table."""
    return table.gather(2, images.flatten(2).long()).view(images.shape)


def _table(images: Tensor, operation: Tensor, strength: Tensor) -> UInt8[Tensor, "batch channels 256"]:
    """Return what each operation that works pixel by pixel makes of the values 0..255."""
    value = torch.arange(256, device=images.device)
    strength = strength[:, None, None]
    centre = (luma(images).flatten(1).double().mean(1) + 0.5).floor().float()[:, None, None]
    step = torch.exp2(8 - strength).long().clamp_min(1)
    tables = {
        "contrast": _mix(centre, value, 1 + strength),
        "brightness": _mix(torch.zeros_like(centre), value, 1 + strength),
        "posterize": value - value % step,
        "solarize": torch.where(value < strength, value, 255 - value),
        "autocontrast": _autocontrast(images),
        "equalize": _equalize(images),
        "invert": 255 - value,
    }
    result = torch.zeros(*images.shape[:2], 256, dtype=torch.uint8, device=images.device)
    for name, table in tables.items():
        result = torch.where((operation == INDEX[name])[:, None, None], table.to(torch.uint8), result)
    return result


def _autocontrast(images: Tensor) -> Int[Tensor, "batch channels 256"]:
    """Stretch each channel's values to 0..255; a channel of one value stays."""
    value = torch.arange(256, device=images.device)
    pixels = images.flatten(2)
    low, high = pixels.amin(2, keepdim=True).long(), pixels.amax(2, keepdim=True).long()
    scale = 255.0 / (high - low).clamp_min(1).double()
    stretched = (value * scale + -low * scale).long().clamp(0, 255)
    return torch.where(high > low, stretched, value)


def _equalize(images: Tensor) -> Int[Tensor, "batch channels 256"]:
    """Flatten each channel's histogram; a channel of one value stays."""
    pixels = images.flatten(2).long()
    histogram = torch.zeros(*pixels.shape[:2], 256, dtype=torch.int64, device=images.device)
    histogram = histogram.scatter_add(2, pixels, torch.ones_like(pixels))
    last = histogram.gather(2, pixels.amax(2, keepdim=True))
    step = (pixels.shape[2] - last) // 255
    below = histogram.cumsum(2) - histogram
    flattened = ((step // 2 + below) // step.clamp_min(1)).clamp_max(255)
    return torch.where(step > 0, flattened, torch.arange(256, device=images.device))


def _smooth(images: Tensor) -> Tensor:
    """Return the 3x3 mean with weight 5 at the centre, rounded; border pixels stay."""
    values = images.int()
    rows = values[:, :, :-2] + values[:, :, 1:-1] + values[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * values[:, :, 1:-1, 1:-1]
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = ((2 * total + 13) // 26).to(torch.uint8)
    return smooth


def _blend(degenerate: Tensor, images: Tensor, factor: Float[Tensor, " batch"]) -> Tensor:
    return _mix(degenerate, images, factor[:, None, None, None]).to(torch.uint8)


def _mix(degenerate: Tensor, values: Tensor, factor: Tensor) -> Tensor:
    """Return degenerate + factor * (values - degenerate) in float32, clipped to 0..255 and cut to whole numbers."""
    start = degenerate.float()
    return (start + factor.float() * (values.float() - start)).clamp(0, 255).floor()
