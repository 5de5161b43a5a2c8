"""Safetensors files read as NumPy arrays with text about them; bfloat16, which NumPy lacks, is read as float32."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open

TYPES = {"F16", "F32", "F64", "BOOL", "C64", *(f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64))}
"""Types of safetensors that NumPy has; BF16 is converted, others (F8_E4M3, ...) are not known here."""


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read arrays and text.

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
        arrays = {name: stream.get_tensor(name) for name, kind in types.items() if kind != "BF16"}
        halved = {name: _bfloat16(path, name) for name, kind in types.items() if kind == "BF16"}
        return arrays | halved, dict(stream.metadata() or {})


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
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        told = json.loads(stream.read(size))[name]
        start, end = told["data_offsets"]
        stream.seek(8 + size + start)
        halves = np.frombuffer(stream.read(end - start), "<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(told["shape"])
