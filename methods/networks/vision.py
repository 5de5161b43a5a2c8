"""torchvision's residual blocks, imported only when a network for 224-pixel images is built.

The compiled operators of a torchvision wheel fit one build of torch (a CUDA wheel's do not load beside a CPU torch).
Its residual networks use none of them, but importing the package registers shape functions for operators that are then
missing, which fails. Those registrations, and nothing else, are left out here.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

from shifts.common.errors import BadInput


def torchvision_resnet() -> ModuleType:
    """Import the module `torchvision.models.resnet`. Raises BadInput where torchvision is not installed.

    Importing it makes tensors, which must have values even where a network is built on the meta device.
    """
    with torch.device("cpu"):
        return _imported()


def _imported() -> ModuleType:
    try:
        return importlib.import_module("torchvision.models.resnet")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torchvision":
            raise
        raise BadInput("this backbone needs torchvision: pip install 'tailshift[imagenet]'") from error
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    # What the failed import left behind would be taken for complete.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    with _no_torchvision_fakes():
        return importlib.import_module("torchvision.models.resnet")


@contextmanager
def _no_torchvision_fakes() -> Iterator[None]:
    """Leave out shape functions of torchvision's operators; all others are registered as ever."""
    register = torch.library.register_fake

    def register_others(op: Any, *arguments: Any, **settings: Any) -> Any:
        if isinstance(op, str) and op.startswith("torchvision::"):
            return _unchanged
        return register(op, *arguments, **settings)

    torch.library.register_fake = register_others
    try:
        yield
    finally:
        torch.library.register_fake = register


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
