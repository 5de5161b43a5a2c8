"""The model zoo: weights in half precision, small enough to be kept beside the code, that stand in for training.

`python -m methods.zoo` packs finished checkpoints; the option `--pretrained` of the other commands uses them. Matrices
and convolutions are stored as float16, BatchNorm and biases as they are. What is unpacked is the same file everywhere,
so rows made from it carry one checkpoint hash.
"""

import json
from pathlib import Path
from typing import Any

from methods.training import checkpoint
from shifts.common.errors import BadInput, WorkFailed
from shifts.common.files import file_sha256

FOLDER = Path("results") / "zoo"


LARGEST = 8_000_000
"""Bytes of one packed file."""


def pack(source: Path, zoo: Path) -> Path:
    """Write the checkpoint at `source` into the folder `zoo` in half precision; returns the new file.

    Raises BadInput where there is no finished checkpoint or the packed file is larger than `LARGEST`, WorkFailed where
    the checkpoint is damaged or a weight does not fit into float16.
    """
    description = checkpoint.describe(source)
    if description is None:
        raise BadInput(f"{source} is no finished checkpoint (the .safetensors and its .json are both needed)")
    if file_sha256(source) != description["sha256"]:
        raise WorkFailed(f"{source}: its SHA-256 is not the one in its .json")
    tensors, _ = checkpoint.load_tensors(source)
    halved = {
        name: tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
        for name, tensor in tensors.items()
    }
    for name, tensor in halved.items():
        if not tensor.isfinite().all():
            raise WorkFailed(f"{source}: {name} does not fit into half precision")
    size = sum(tensor.nbytes for tensor in halved.values())
    if size > LARGEST:
        raise BadInput(f"{source} takes {size / 1e6:.1f} MB in half precision; the zoo takes {LARGEST / 1e6:.0f} MB")
    zoo.mkdir(parents=True, exist_ok=True)
    destination = zoo / source.name
    checkpoint.save(destination, halved, description | {"packed_from": description["sha256"]})
    return destination


def has(stem: str, key: str, zoo: Path) -> bool:
    """Return whether the zoo holds a checkpoint's weights: made by exactly its data, method, recipe and seed."""
    description = checkpoint.describe(_path(stem, zoo))
    return description is not None and description["key"] == key


def unpack(stem: str, key: str, zoo: Path, destination: Path) -> dict[str, Any]:
    """Make the checkpoint `destination` from the zoo; returns its description.

    Raises WorkFailed where the packed file is not what its JSON says.
    """
    source = _path(stem, zoo)
    description = checkpoint.describe(source)
    if description is None or description["key"] != key or file_sha256(source) != description["sha256"]:
        raise WorkFailed(f"{source}: not the weights that its .json describes; fetch both files again")
    tensors, _ = checkpoint.load_tensors(source)
    whole = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    return checkpoint.save(destination, whole, description | {"unpacked_from": description["sha256"]})


def listed(zoo: Path) -> list[str]:
    """List what the zoo holds, a line each: dataset, method, recipe, seed."""
    found = []
    for file in sorted(zoo.glob("[!.]*.json")):
        about = json.loads(file.read_text(encoding="utf-8"))
        found.append(f"{about['dataset']} {about['method']} {about['recipe']} seed {about['seed']}")
    return found


def _path(stem: str, zoo: Path) -> Path:
    return zoo / f"{stem}.safetensors"
