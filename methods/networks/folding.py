"""BatchNorm folded into the convolution before it: the same function at test, with fewer passes over memory."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


@torch.inference_mode()
def fold_batchnorm(network: nn.Module, image_size: tuple[int, int]) -> nn.Module:
    """Fold every BatchNorm2d that directly follows a convolution into it, in place; returns the network.

    network: in evaluation mode, maps images [B, 3, H, W] to an output; image_size: (H, W) in pixels. Which BatchNorm
    follows which convolution is seen in one pass over a blank image. The output stays the same up to rounding.
    Raises ValueError in training mode or where a convolution is run more than once.
    """
    if any(module.training for module in network.modules()):
        raise ValueError("only a network in evaluation mode can be folded")
    made: list[tuple[nn.Conv2d, Tensor]] = []
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def after_convolution(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made.append((module, output))

    def before_batchnorm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        pairs.extend((convolution, module) for convolution, output in made if output is inputs[0])

    hooks = [
        module.register_forward_hook(after_convolution) for module in network.modules() if isinstance(module, nn.Conv2d)
    ] + [
        module.register_forward_pre_hook(before_batchnorm)
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    device = next(network.parameters()).device
    network(torch.zeros(1, 3, *image_size, device=device).contiguous(memory_format=torch.channels_last))
    for hook in hooks:
        hook.remove()
    if len({convolution for convolution, _ in made}) < len(made):
        raise ValueError("a convolution is run more than once; its BatchNorms cannot be folded")
    names = {module: name for name, module in network.named_modules()}
    for convolution, batchnorm in pairs:
        network.set_submodule(names[convolution], fuse_conv_bn_eval(convolution, batchnorm))
        network.set_submodule(names[batchnorm], nn.Identity())
    return network
