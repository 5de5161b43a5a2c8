"""What the machine can do at best: matrix products and 3x3 convolutions of ResNet-32's widths, in FLOP a second."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import interleaved

SIDE = {"cpu": 2048, "cuda": 8192}
SHAPES = ((16, 32), (24, 16), (48, 8), (32, 16), (64, 8))
"""(channels, pixels a side) of the reduced and the full network's stages."""
BATCH = {"cpu": 128, "cuda": 2048}
REPEATS = {"cpu": 4, "cuda": 20}


def ceilings(device: torch.device, rounds: int) -> dict[str, dict[str, float]]:
    """Return the best rate found, FLOP a second: {"fp32" and "bf16": {"matrix product", "convolution"}}."""
    return {
        name: {"matrix product": _products(device, kind, rounds), "convolution": _convolutions(device, kind, rounds)}
        for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }


@torch.inference_mode()
def _products(device: torch.device, kind: torch.dtype, rounds: int) -> float:
    side, repeats = SIDE[device.type], REPEATS[device.type]
    left, right = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))

    def work() -> None:
        for _ in range(repeats):
            left @ right

    return repeats * 2 * side**3 / interleaved({"": work}, rounds, device)[""].least


@torch.inference_mode()
def _convolutions(device: torch.device, kind: torch.dtype, rounds: int) -> float:
    """Return the rate of the fastest of the widths, channels last, forward."""
    repeats, rates = REPEATS[device.type], []
    for channels, side in SHAPES:
        images = torch.randn(BATCH[device.type], channels, side, side, device=device, dtype=kind)
        images = images.contiguous(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3, device=device, dtype=kind)
        weight = weight.contiguous(memory_format=torch.channels_last)
        flops = repeats * 2 * 9 * channels * channels * images.numel() / channels
        rates.append(flops / interleaved({"": _repeated(images, weight, repeats)}, rounds, device)[""].least)
    return max(rates)


def _repeated(images: Tensor, weight: Tensor, repeats: int) -> Callable[[], None]:
    def work() -> None:
        for _ in range(repeats):
            F.conv2d(images, weight, padding=1)

    return work
