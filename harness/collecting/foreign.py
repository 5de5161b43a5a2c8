"""Models of timm and of transformers, with the preprocessing that is theirs, from the Hub or from local files."""

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from shifts.common.errors import BadInput


@dataclass(frozen=True)
class Foreign:
    """A model with what it wants to see. `transform`: RGB image -> [3, H, W], bytes or in 0..1, before normalisation.

    class_names: what the outputs are called, in order, under each of the names that there are; empty where the model
    does not say.
    """

    model: nn.Module
    transform: Callable[[Image.Image], Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[tuple[str, ...], ...]


def of_timm(name: str, weights: Path | None) -> Foreign:
    """Make a model of timm with its own weights, or with those of a file. Raises BadInput."""
    timm = _module("timm")
    state = None if weights is None else read_weights(weights)
    more: dict[str, Any] = {}
    if state is not None:
        # As many outputs as the file has, whatever the architecture had when it was first trained.
        more["num_classes"] = _outputs(_made("timm", name, lambda: timm.create_model(name)), state, weights)
    try:
        model = timm.create_model(name, pretrained=state is None, **more)
    except RuntimeError as error:
        if "Unknown model" not in str(error):
            raise _unmade("timm", name, error) from error
        near = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=5, cutoff=0.5)
        raise BadInput(f"timm has no model {name!r}; near: {', '.join(near) or 'none'}") from error
    except Exception as error:  # what the Hub's client and the reading of weights raise is of many kinds
        raise _unmade("timm", name, error) from error
    names: list[tuple[str, ...]] = []
    if state is None:
        names = _timm_names(timm, model)
    else:
        load_weights(model, state, weights)
    config = timm.data.resolve_data_config(model=model)
    transform = timm.data.create_transform(**config, is_training=False, normalize=False)
    return Foreign(model, transform, tuple(config["mean"]), tuple(config["std"]), tuple(names))


def of_transformers(name: str, weights: Path | None) -> Foreign:
    """Make an image classifier of transformers, from the Hub or a folder, with its image processor. Raises BadInput."""
    transformers = _module("transformers")

    def made() -> tuple[nn.Module, Any]:
        kind = transformers.AutoModelForImageClassification
        if weights is None:
            model = kind.from_pretrained(name)
        else:
            model = kind.from_config(transformers.AutoConfig.from_pretrained(name))
        return model, transformers.AutoImageProcessor.from_pretrained(name)

    model, processor = _made("transformers", name, made)
    if weights is not None:
        load_weights(model, read_weights(weights), weights)

    def transform(image: Image.Image) -> Tensor:
        seen: Tensor = processor(images=image, return_tensors="pt", do_normalize=False)["pixel_values"][0]
        return seen

    normalised = getattr(processor, "do_normalize", False)
    mean = tuple(processor.image_mean) if normalised else (0.0,) * 3
    std = tuple(processor.image_std) if normalised else (1.0,) * 3
    labels = [str(model.config.id2label[place]) for place in range(model.config.num_labels)]
    told = labels != [f"LABEL_{place}" for place in range(len(labels))]
    return Foreign(model, transform, mean, std, (tuple(labels),) if told else ())


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint's weights: safetensors, or a PyTorch file that holds nothing but tensors. Raises BadInput.

    They may lie under `state_dict` or `model`, and names may begin with `module.`, as DistributedDataParallel has it.
    """
    if not path.is_file():
        raise BadInput(f"--weights {path} does not exist")
    found: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the two libraries raise errors of many kinds
        raise BadInput(f"--weights {path} cannot be read: {_reason(error)}") from error
    for name in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()) or not found:
        raise BadInput(f"--weights {path} is not a dictionary of weights")
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


def load_weights(model: nn.Module, state: Mapping[str, Tensor], path: Path | None) -> None:
    """Load weights that must be the model's, all of them. Raises BadInput that says how many differ, and the first."""
    own = model.state_dict()
    odd = sorted(
        name
        for name in own.keys() | state.keys()
        if name not in own or name not in state or own[name].shape != state[name].shape
    )
    if odd:
        raise BadInput(f"--weights {path} do not fit the model: {len(odd)} differ, first {odd[0]}")
    model.load_state_dict(dict(state))


def in_order(names: tuple[tuple[str, ...], ...], wanted: tuple[str, ...], what: str) -> list[int]:
    """Return which of the model's outputs is each of the `wanted` classes, by name; case and `_` do not matter.

    names: the outputs' names, one list for each way to call them. Raises BadInput, with what differs, where no list
    holds the same names as `wanted`.
    """
    asked = [_plain(name) for name in wanted]
    best: tuple[set[str], set[str]] | None = None
    for listed in names:
        places = {_plain(name): place for place, name in enumerate(listed)}
        if len(places) == len(listed) == len(asked) and places.keys() == set(asked):
            return [places[name] for name in asked]
        differ = set(asked) - places.keys(), places.keys() - set(asked)
        if best is None or len(differ[0]) < len(best[0]):
            best = differ
    assert best is not None
    ours, theirs = (", ".join(sorted(differ)[:3]) or "none" for differ in best)
    raise BadInput(
        f"the model's {len(names[0])} classes are not the {len(wanted)} of {what}: {len(best[0])} are not the model's "
        f"({ours}), {len(best[1])} of the model's are not there ({theirs}); --class-names FILE names its outputs"
    )


def with_names(foreign: Foreign, names: tuple[str, ...]) -> Foreign:
    """Return the model with given names for its outputs."""
    return replace(foreign, class_names=(names,))


def _timm_names(timm: ModuleType, model: nn.Module) -> list[tuple[str, ...]]:
    """Return the names of a pre-trained model's outputs: its own, or ImageNet's synsets and descriptions."""
    own = getattr(model, "pretrained_cfg", {}).get("label_names")
    if own:
        return [tuple(own)]
    subset = timm.data.infer_imagenet_subset(model)
    if subset is None:
        return []
    info = timm.data.ImageNetInfo(subset)
    synsets = tuple(info.label_names())
    return [synsets, tuple(info.index_to_description(place) for place in range(len(synsets)))]


def _outputs(model: nn.Module, state: Mapping[str, Tensor], weights: Path | None) -> int:
    """Return how many classes the weights of a timm model have."""
    name = getattr(model, "pretrained_cfg", {}).get("classifier")
    last = state.get(f"{name}.weight") if isinstance(name, str) else None
    if last is None:
        raise BadInput(f"--weights {weights}: no {name}.weight, the last layer of this model; do they belong to it?")
    return len(last)


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a torchvision that does not fit its torch fails with RuntimeError
        raise BadInput(f"--{name} needs {name}: pip install 'tailshift[{name}]' ({_reason(error)})") from error


def _made(library: str, name: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:  # what these libraries and the Hub's client raise is of many kinds
        raise _unmade(library, name, error) from error


def _unmade(library: str, name: str, error: Exception) -> BadInput:
    return BadInput(f"{library} cannot make {name!r}: {_reason(error)}")


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
