"""Anybody's model as a network of experts: whatever it returns becomes logits, and its last layers give features."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from harness.passes.layers import Inputs
from methods.core.batch import ExpertOutput
from shifts.common.errors import BadInput


class AnyModel(nn.Module):
    """Images -> ExpertOutput of a model that returns logits [B, C] or [B, E, C] in one of the usual wrappings.

    order: which of the model's outputs is class 0, 1, ...; None where they are in order. Features are what goes into
    the layers that `inputs` watches, of dimension 0 before it is set.
    """

    def __init__(self, model: nn.Module, order: Int[np.ndarray, " classes"] | None = None) -> None:
        super().__init__()
        self.model = model
        self.order = None if order is None else torch.as_tensor(order, dtype=torch.long)
        self.inputs: Inputs | None = None

    @property
    def device(self) -> torch.device:
        """Where the model's first parameter lies."""
        return next((tensor.device for tensor in self._tensors()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the model's first parameter."""
        return next((tensor.dtype for tensor in self._tensors() if tensor.is_floating_point()), torch.float32)

    def forward(self, images: Tensor) -> ExpertOutput:
        logits = logits_of(self.model(images), len(images))
        if self.order is not None:
            if logits.shape[2] != len(self.order):
                raise BadInput(f"the model gives {logits.shape[2]} classes, {len(self.order)} are named")
            logits = logits[:, :, self.order.to(logits.device)]
        if self.inputs is None:
            return ExpertOutput(logits, logits.new_empty(*logits.shape[:2], 0))
        try:
            return ExpertOutput(logits, self.inputs.features())
        except ValueError as error:
            raise BadInput(f"head: {error}") from error

    def _tensors(self) -> Any:
        yield from self.model.parameters()
        yield from self.model.buffers()


def logits_of(output: object, images: int) -> Tensor:
    """Return the logits [B, E, C] in what a model returned for so many images.

    That is a tensor [B, C] or [B, E, C], an object or dictionary that has it as `logits`, or a tuple whose first part
    is one of these. Raises BadInput for anything else.
    """
    found = output
    for _ in range(3):
        if isinstance(found, Tensor):
            break
        if isinstance(found, Mapping) and "logits" in found:
            found = found["logits"]
        elif hasattr(found, "logits"):
            found = found.logits
        elif isinstance(found, tuple | list) and len(found):
            found = found[0]
    if not isinstance(found, Tensor):
        known = "a tensor, something with .logits, or a tuple whose first part is one of these"
        raise BadInput(f"the model returns {type(output).__name__}, not {known}")
    if found.ndim not in (2, 3) or not found.is_floating_point() or len(found) != images or 0 in found.shape:
        raise BadInput(
            f"the model returns {str(found.dtype).removeprefix('torch.')}{list(found.shape)} for {images} images, not "
            "logits [images, classes] or [images, experts, classes]"
        )
    return found if found.ndim == 3 else found[:, None]


def fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 (hex) of a model's class, weights and buffers."""
    import hashlib

    state = hashlib.sha256(type(model).__qualname__.encode())
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, Tensor):
            state.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def named(model: nn.Module, names: str | Sequence[str]) -> list[nn.Module]:
    """Return the modules of a model by name. Raises BadInput, listing linear ones, for an unknown name."""
    known = dict(model.named_modules())
    found = []
    for name in [names] if isinstance(names, str) else names:
        if name not in known:
            linear = [key for key, module in known.items() if isinstance(module, nn.Linear)]
            raise BadInput(f"head: the model has no module {name!r}; its linear layers: {', '.join(linear) or 'none'}")
        found.append(known[name])
    return found
