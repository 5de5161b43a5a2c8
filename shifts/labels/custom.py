"""The file of a `custom` shift: class weights or counts as JSON, by class index or by class name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from shifts.common.errors import BadInput, check_name


def read_custom(
    path: str, pool: Int[np.ndarray, " classes"], class_names: Sequence[str] | None
) -> tuple[str, Float[np.ndarray, " classes"]]:
    """Read ('weights' or 'counts', one number for each class) from a JSON file.

    Forms: [numbers] (weights), {"weights": ...}, {"counts": ...}, {class name: weight}; the numbers are a list
    in class order or an object keyed by class name (a class that is not named gets 0). Raises BadInput for
    anything else, for negative or non-finite numbers, all zeros, and counts that are not whole or exceed the
    pool.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"custom shift: cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"custom shift: {path} is not JSON: {error}") from error
    what = "weights"
    if isinstance(content, dict) and len(content) == 1 and next(iter(content)) in ("weights", "counts"):
        what, content = next(iter(content.items()))
    values = _numbers(path, content, len(pool), class_names)
    if not values.any():
        raise BadInput(f"custom shift: all {what} in {path} are zero")
    if what == "counts":
        _check_counts(path, values, pool, class_names)
    return what, values


def _numbers(path: str, content: Any, classes: int, class_names: Sequence[str] | None) -> Float[np.ndarray, " classes"]:
    if isinstance(content, dict) and class_names is not None:
        for name in content:
            check_name(f"class in {path}", name, class_names)
        content = [content.get(name, 0) for name in class_names]
    if not isinstance(content, list):
        raise BadInput(f"custom shift: {path} must hold {classes} numbers or an object keyed by class name")
    if len(content) != classes:
        raise BadInput(f"custom shift: {path} holds {len(content)} numbers; there are {classes} classes")
    for index, value in enumerate(content):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise BadInput(f"custom shift: {path}: {value!r} of class {index} is not a finite number >= 0")
    return np.asarray(content, dtype=np.float64)


def _check_counts(
    path: str,
    values: Float[np.ndarray, " classes"],
    pool: Int[np.ndarray, " classes"],
    class_names: Sequence[str] | None,
) -> None:
    for index, value in enumerate(values):
        label = f"class {index}" + (f" ({class_names[index]})" if class_names is not None else "")
        if value != int(value):
            raise BadInput(f"custom shift: {path}: the count {value:g} of {label} is not a whole number")
        if value > pool[index]:
            given = f"{path} asks for {value:.0f} images of {label}"
            raise BadInput(f"custom shift: {given}; the pool has {pool[index]}")
