"""Multiply-accumulates of one image, counted as the published tables count them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from methods.networks.heads import CosineHead
from methods.networks.hypernetwork import PreferenceHead


def count_macs(network: nn.Module, image_size: tuple[int, int]) -> int:
    """Count the MACs of one image's forward pass [3, H, W]: convolutions, linear layers, heads, 2 a BatchNorm output.

    That is what RIDE's paper prints as FLOPs (69.5 M for a full-width ResNet-32).
    """
    total = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.BatchNorm2d):
            total += 2 * output[0].numel()
        elif isinstance(module, nn.Linear | CosineHead | PreferenceHead):
            total += output[0].numel() * inputs[0].shape[-1]

    hooks = [module.register_forward_hook(add) for module in network.modules()]
    training = network.training
    device = next(network.parameters()).device
    try:
        network.eval()
        with torch.inference_mode():
            network(torch.zeros(1, 3, *image_size, device=device))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return total


def split_macs(build: Callable[[int], nn.Module], image_size: tuple[int, int]) -> tuple[int, int]:
    """Return MACs that all experts share, and MACs of each expert, from networks of two and three: `build(experts)`."""
    two, three = (count_macs(build(experts), image_size) for experts in (2, 3))
    return 3 * two - 2 * three, three - two


def count_parameters(network: nn.Module) -> int:
    """Count the parameters (not buffers)."""
    return sum(parameter.numel() for parameter in network.parameters())
