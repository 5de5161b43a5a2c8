"""The last layer of each expert: found by what it gives, watched for what goes into it, and read as arrays."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from harness.evidence.heads import Classifiers
from methods.core.batch import ExpertOutput
from methods.networks.heads import CosineHead


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


@torch.inference_mode()
def last_layers(
    network: nn.Module, images: Float[Tensor, "batch ..."], order: Int[np.ndarray, " classes"] | None = None
) -> list[nn.Module] | None:
    """Return the layer whose output the logits are, for each expert; None where there is none for some expert.

    network: images -> ExpertOutput; order: which outputs of such a layer are class 0, 1, ...
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
    layers = []
    for expert in range(output.logits.shape[1]):
        wanted = output.logits[:, expert]
        layers.append(next((module for module, given in made if torch.equal(given, wanted)), None))
    return None if None in layers else [layer for layer in layers if layer is not None]


@torch.inference_mode()
def classifiers(layers: Sequence[nn.Module], order: Int[np.ndarray, " classes"] | None = None) -> Classifiers | None:
    """Return last layers as arrays, None where they are neither all linear nor all cosine ones of one scale."""

    def array(tensor: Tensor) -> Float[np.ndarray, "..."]:
        made = tensor.detach().float().cpu().numpy()
        return np.ascontiguousarray(made if order is None else made[..., order])

    if all(isinstance(layer, nn.Linear) for layer in layers):
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        biases = [array(layer.bias) for layer in linear if layer.bias is not None]
        if len(biases) in (0, len(linear)):
            return Classifiers(
                np.stack([array(layer.weight.T) for layer in linear]), np.stack(biases) if biases else None
            )
    cosine = [layer for layer in layers if isinstance(layer, CosineHead)]
    if len(cosine) == len(layers) and len({layer.scale for layer in cosine}) == 1:
        return Classifiers(np.stack([array(layer.weight) for layer in cosine]), scale=cosine[0].scale)
    return None
