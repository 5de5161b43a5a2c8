"""A step and its augmentation never make the host wait for the device, so that they can be recorded on one.

Shown without a device: on `meta` tensors, which have no values, whatever would read one fails; what would copy from
the host's memory is refused here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from methods import papers
from methods.core.batch import Batch, ExpertOutput, NetworkSpec
from methods.core.recipes import PUBLISHED
from methods.core.stage import Stage
from methods.pixels import autoaugment
from methods.pixels.augment import Geometry, to_float, transform
from methods.training.loop import build_network
from tests.methods import tiny

META = torch.device("meta")
SIZE, SIDE = 8, 8
GAMMA_ON_META = torch._C._dispatch_has_kernel_for_dispatch_key("aten::_standard_gamma", "Meta")
"""Whether PRL's preferences, which are gamma variates, can be drawn without values: PyTorch 2.6 cannot."""
VARIANTS = ("prl:variant=released", "prl:variant=preference_weighted")


class Apart(TorchDispatchMode):
    """Refuses operations between the device and memory of the host, but for single numbers."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        tensors = [value for value in tree_leaves((args, kwargs, made)) if isinstance(value, Tensor)]
        on_host = [tensor for tensor in tensors if tensor.device != META]
        if 0 < len(on_host) < len(tensors) and ("copy" in str(func) or any(tensor.ndim for tensor in on_host)):
            raise RuntimeError(f"{func} between host and device")
        return made


class NothingFromHost(TorchFunctionMode):
    """Refuses tensors made from values of the host, as an index too."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy):
            raise RuntimeError(f"torch.{func.__name__} from the host")
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list | np.ndarray) for part in index):
                raise RuntimeError("an index from the host")
        return func(*args, **(kwargs or {}))


def batch_of(stage: Stage, network: torch.nn.Module, label_sets: bool) -> Batch:
    """A batch without values."""
    classes = len(tiny.COUNTS)
    images = torch.empty(SIZE, 3, SIDE, SIDE, device=META)
    shape, kind = ((SIZE, classes), torch.float32) if label_sets else ((SIZE,), torch.int64)
    output: ExpertOutput | None = None
    if stage.cached:
        with torch.no_grad():
            output = network(images)
    return Batch(
        images,
        torch.empty(shape, dtype=kind, device=META),
        torch.empty(classes, device=META),
        output=output,
        generator=torch.Generator(),
        population=sum(tiny.COUNTS),
    )


@pytest.mark.parametrize("name", [*papers.METHODS, *VARIANTS])
def test_steps(name: str) -> None:
    if name.startswith("prl") and not GAMMA_ON_META:
        pytest.skip("this PyTorch draws no gamma variates on meta tensors")
    method = papers.get(name)
    spec = NetworkSpec("resnet8", tiny.COUNTS, (SIDE, SIDE))
    for stage in method.stages(PUBLISHED):
        network = build_network(method, spec, 0, training=True).to(META)
        for parameter, value in network.named_parameters():
            value.requires_grad_(stage.trainable(parameter))
        batches = [batch_of(stage, network, method.task != "single_label") for _ in stage.samplers]
        for epoch in (0, *stage.switches):
            with Apart(), NothingFromHost():
                loss = stage.step(network, batches, epoch)["loss"]
                loss.backward()
            assert loss.device == META
            assert any(value.grad is not None for value in network.parameters())


def test_augmentation() -> None:
    images = torch.empty(SIZE, 3, SIDE, SIDE, dtype=torch.uint8, device=META)
    whole = torch.empty(SIZE, dtype=torch.int64, device=META)
    shares = torch.empty(SIZE, device=META)
    with Apart(), NothingFromHost():
        cropped = transform(images, Geometry(whole, whole, whole > 0, shares), 4)
        changed = autoaugment.apply(cropped, whole, shares)
        values = to_float(changed, shares[:3], shares[:3])
    assert values.shape == images.shape
    assert values.device == META


@pytest.mark.parametrize(
    "wait",
    [
        lambda values: float(values.sum()),
        lambda values: values[values > 0],
        lambda values: values[[0, 1]],
        lambda values: values + torch.ones(4).to(META),
        lambda values: values + torch.tensor(1.0, device=META),
        lambda values: torch.nn.functional.one_hot(values.long()),
        lambda values: torch.repeat_interleave(values.long()),
    ],
)
def test_waiting_is_noticed(wait: Callable[[Tensor], object]) -> None:
    values = torch.empty(4, device=META)
    with Apart(), NothingFromHost(), pytest.raises(RuntimeError):
        wait(values)
