"""What a recipe's `fp32` and `bf16` mean on a device."""

from typing import Literal

import torch


def whole_float32() -> None:
    """Compute float32 in float32, in this process from now on.

    PyTorch's default on CUDA runs convolutions of float32 in TF32, which keeps 10 of 23 bits of the fraction; some
    installations do so with matrix products too.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


Precision = Literal["fp32", "bf16"]


def arithmetic(device: torch.device, precision: Precision) -> torch.autocast:
    """Return a context for forward passes: `bf16` runs convolutions and matrix products in bfloat16, no more."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
