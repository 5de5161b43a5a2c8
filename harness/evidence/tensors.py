"""Safetensors files read as NumPy arrays with text about them; bfloat16, which NumPy lacks, is read as float32."""

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open

TYPES = {"F16", "F32", "F64", "BOOL", "C64", *(f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64))}
"""Types of safetensors that NumPy has; BF16 is converted, others (F8_E4M3, ...) are not known here."""


MAPPED = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
"""Types of arrays that can be left where they lie in the file."""


def read(path: Path, mapped: Container[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read arrays and text; those named in `mapped` are read from the file when they are looked at, and not kept.

    Raises OSError where the file cannot be read, SafetensorError where it is truncated or no safetensors file,
    TypeError that names an array whose type is not known.
    """
    with path.open("rb"):
        pass  # what the system has to say against it is said here, and by name
    with safe_open(path, framework="np") as stream:
        types = {name: stream.get_slice(name).get_dtype() for name in stream.keys()}  # noqa: SIM118
        for name, kind in types.items():
            if kind not in TYPES | {"BF16"}:
                raise TypeError(f"{name} is {kind}; known are float16, bfloat16, float32, float64 and whole numbers")
        arrays = {}
        for name, kind in types.items():
            if kind == "BF16":
                arrays[name] = _bfloat16(path, name)
            elif name in mapped and kind in MAPPED:
                arrays[name] = _mapped(path, name)
            else:
                arrays[name] = stream.get_tensor(name)
        return arrays, dict(stream.metadata() or {})


def shapes(path: Path) -> dict[str, list[int]]:
    """Read the shapes of a file's arrays, and nothing else. Raises OSError and SafetensorError as `read`."""
    with safe_open(path, framework="np") as stream:
        return {name: list(stream.get_slice(name).get_shape()) for name in stream.keys()}  # noqa: SIM118


def metadata(path: Path) -> dict[str, str] | None:
    """Return the text of a file, or None where there is no file or it cannot be read."""
    try:
        with safe_open(path, framework="np") as stream:
            return dict(stream.metadata() or {})
    except (SafetensorError, OSError):
        return None


def _bfloat16(path: Path, name: str) -> Float32[np.ndarray, "..."]:
    """Return an array that NumPy has no type for: its numbers are the upper halves of float32."""
    told, start = _place(path, name)
    begin, end = told["data_offsets"]
    with path.open("rb") as stream:
        stream.seek(start + begin)
        halves = np.frombuffer(stream.read(end - begin), "<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(told["shape"])


def _mapped(path: Path, name: str) -> np.ndarray:
    """Return an array that stays in the file."""
    told, start = _place(path, name)
    begin, end = told["data_offsets"]
    if begin == end:
        return np.empty(told["shape"], MAPPED[told["dtype"]])
    lies = np.memmap(path, MAPPED[told["dtype"]], "r", start + begin, tuple(told["shape"]))
    return np.asarray(lies)


def _place(path: Path, name: str) -> tuple[dict[str, Any], int]:
    """Return what a file's head says of an array, and where the arrays begin."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        return json.loads(stream.read(size))[name], 8 + size
