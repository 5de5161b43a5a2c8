"""Checkpoints: safetensors for tensors, JSON beside them for what they are. Loading a file cannot run code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from shifts.common.errors import WorkFailed
from shifts.common.files import atomic, canonical_json, file_sha256, write_text

CHECKPOINT_SCHEMA = 1


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able metadata (in the file's header) as one safetensors file, complete or not at all."""
    flat = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        try:
            save_file(flat, temporary, {"json": canonical_json(dict(metadata))})
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of `save_tensors`. Raises WorkFailed, naming the file, if it is truncated or something else."""
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = json.loads((stream.metadata() or {}).get("json", "{}"))
            return {name: stream.get_tensor(name) for name in stream.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WorkFailed(f"{path}: truncated or not a safetensors file ({error}); delete it and run again") from error


def save(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> dict[str, Any]:
    """Write weights to `path` (.safetensors), then their JSON, which has the file's SHA-256 and makes it complete."""
    save_tensors(path, tensors, {})
    full = {**description, "schema": CHECKPOINT_SCHEMA, "sha256": file_sha256(path)}
    write_text(path.with_suffix(".json"), json.dumps(full, indent=1, sort_keys=True) + "\n")
    return full


def describe(path: Path) -> dict[str, Any] | None:
    """Read the JSON of the checkpoint at `path`; None where there is no complete one.

    Raises WorkFailed for an unreadable JSON or a newer schema.
    """
    side = path.with_suffix(".json")
    if not side.exists() or not path.exists():
        return None
    try:
        description: dict[str, Any] = json.loads(side.read_text(encoding="utf-8"))
        schema = int(description["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise WorkFailed(f"{side}: not a checkpoint description ({error}); delete it and run again") from error
    if schema > CHECKPOINT_SCHEMA:
        raise WorkFailed(f"{side}: written by a newer version (schema {schema}, this one reads {CHECKPOINT_SCHEMA})")
    return description


def load(path: Path, network: nn.Module, *, method: str, classes: int) -> dict[str, Any]:
    """Load the weights at `path` into `network` and return the description.

    Raises WorkFailed, by name, for a missing or truncated file, a wrong hash, another method or other classes.
    """
    description = describe(path)
    if description is None:
        raise WorkFailed(f"{path}: no complete checkpoint (the .safetensors and its .json are both needed)")
    for key, wanted in (("method", method), ("classes", classes)):
        if description.get(key) != wanted:
            raise WorkFailed(f"{path}: holds {key} {description.get(key)!r}, not {wanted!r}")
    if file_sha256(path) != description["sha256"]:
        raise WorkFailed(f"{path}: its SHA-256 is not the one in its .json; delete both files and run again")
    tensors, _ = load_tensors(path)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).replace("\n", " ")
        raise WorkFailed(f"{path}: does not fit the network of {method}: {first}") from error
    return description
