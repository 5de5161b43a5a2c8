"""The last layer of each expert: found by what it gives, watched for what goes into it, and read as arrays."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from harness.evidence.heads import Classifiers
from methods.core.batch import ExpertOutput
from methods.networks.heads import CosineHead

SAME = 1e-5
"""Of the largest logit: how much what is constant may differ between images."""


class Inputs:
    """What went into some layers in the last forward pass; `close` leaves the network as it was."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self._found: list[Tensor | None] = [None] * len(layers)
        self._hooks = [layer.register_forward_pre_hook(partial(self._catch, at)) for at, layer in enumerate(layers)]

    def _catch(self, at: int, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._found[at] = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None

    def features(self) -> Float[Tensor, "batch experts dim"]:
        """Return the inputs. Raises ValueError unless each is one vector an image, all of one length."""
        shapes = [None if found is None else tuple(found.shape) for found in self._found]
        if None in shapes or len(set(shapes)) > 1 or len(shapes[0] or ()) != 2:
            raise ValueError(f"its inputs are {shapes}, not one vector an image, of one length for all experts")
        return torch.stack([found for found in self._found if found is not None], 1)

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()


class Layer(NamedTuple):
    """A last layer, and what is added to its output, the same for all images; None for nothing."""

    module: nn.Module
    shift: Float[Tensor, " classes"] | None = None


@torch.inference_mode()
def last_layers(
    network: nn.Module, images: Float[Tensor, "batch ..."], order: Int[np.ndarray, " classes"] | None = None
) -> list[Layer] | None:
    """Return the layer that gives the logits, up to one constant a class, for each expert; None without one for some.

    network: images -> ExpertOutput; order: which outputs of such a layer are class 0, 1, ... Two images at least tell
    whether something is constant; of one image the logits must be the layer's output.
    """
    made: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 2:
            made.append((module, output if order is None else output[:, order]))

    candidates = [module for module in network.modules() if getattr(getattr(module, "weight", None), "ndim", 0) == 2]
    hooks = [module.register_forward_hook(note) for module in candidates]
    try:
        output: ExpertOutput = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    layers = [_giving(made, output.logits[:, expert]) for expert in range(output.logits.shape[1])]
    return None if None in layers else [layer for layer in layers if layer is not None]


def _giving(made: Sequence[tuple[nn.Module, Tensor]], wanted: Float[Tensor, "batch classes"]) -> Layer | None:
    """Return which of the modules, each with its output, gives the wanted logits."""
    fitting = [(module, given) for module, given in made if given.shape == wanted.shape]
    for module, given in fitting:
        if torch.equal(given, wanted):
            return Layer(module)
    for module, given in fitting if len(wanted) > 1 else ():
        shift = (wanted - given).mean(0)
        if (wanted - given - shift).abs().max() <= SAME * wanted.abs().max():
            return Layer(module, shift)
    return None


@torch.inference_mode()
def classifiers(layers: Sequence[Layer], order: Int[np.ndarray, " classes"] | None = None) -> Classifiers | None:
    """Return last layers as arrays, None where they are neither all linear nor all cosine ones of one scale."""

    def array(tensor: Tensor) -> Float[np.ndarray, "..."]:
        made = tensor.float().cpu().numpy()
        return made if order is None else made[..., order]

    weights, biases, scales = [], [], set()
    for module, shift in layers:
        if isinstance(module, nn.Linear):
            weight, bias, scale = module.weight.T, module.bias, None
        elif isinstance(module, CosineHead):
            weight, bias, scale = module.weight, None, module.scale
        else:
            return None
        weights.append(np.ascontiguousarray(array(weight)))
        biases.append(np.zeros(weights[-1].shape[1], np.float32) if bias is None else array(bias))
        scales.add(scale)
        if shift is not None:  # in the order of the logits already
            biases[-1] = biases[-1] + shift.float().cpu().numpy()
    if len(scales) > 1 or len({weight.shape for weight in weights}) > 1:
        return None
    added = np.stack(biases)
    return Classifiers(np.stack(weights), added if added.any() else None, scales.pop())
