"""What is wrong with the arrays of an evidence file, by key: the same on reading and on writing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from shifts.errors import BadInput

REQUIRED = ("logits", "labels", "train_counts", "expert_priors")
ARRAYS = ("views", "features", "view_features", "gate_logits", "agreement")
HEADS = ("preferences", "heads", "preference_priors")
OPTIONAL = (*ARRAYS, *HEADS, "source_logits", "source_labels")

LARGEST = 1e36
"""Largest number: what adapters make of it still is a float32."""
LOGITS = ("logits", "views", "source_logits")
"""What may lie below -LARGEST, as the lowest float32 does: a class that is masked."""
_FLOATS = (np.float16, np.float32, np.float64)
_DIMENSIONS = {"logits": 3, "expert_priors": 2, "views": 5, "features": 3, "view_features": 5, "source_logits": 3}
"""Of arrays that have an axis of experts, the last but one."""
_MOST_IMAGES = 10**12


def with_experts(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a single expert whose `logits` are [N, C], with its axis where it was left out."""
    if "logits" not in arrays or arrays["logits"].ndim != 2:
        return dict(arrays)
    return {
        name: np.expand_dims(array, -2) if array.ndim + 1 == _DIMENSIONS.get(name) else array
        for name, array in arrays.items()
    }


@dataclass(frozen=True)
class Checker:
    """Says what is wrong with a file's arrays and metadata, by key."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    metadata: Mapping[str, str]

    def fail(self, what: str) -> BadInput:
        return BadInput(f"evidence file {self.path}: {what}")

    def keys(self) -> None:
        known = ", ".join(REQUIRED + OPTIONAL)
        for name in REQUIRED:
            if name not in self.arrays:
                raise self.fail(f"has no {name!r}; it has: {', '.join(sorted(self.arrays)) or 'nothing'}")
        for name in self.arrays:
            if name not in REQUIRED + OPTIONAL:
                raise self.fail(f"unknown key {name!r}; known are: {known}")

    def floats(self, name: str, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        if name not in self.arrays:
            raise self.fail(f"has no {name!r}")
        array = self.arrays[name]
        fits = array.ndim == len(shape) and all(
            want is None or want == size for want, size in zip(shape, array.shape, strict=True)
        )
        if not fits or 0 in array.shape or array.dtype not in _FLOATS:
            wanted = ", ".join("?" if size is None else str(size) for size in shape)
            raise self.fail(f"{name} is {array.dtype}{list(array.shape)}, not floating point [{wanted}]")
        with np.errstate(over="ignore"):
            small = array.astype(np.float32)
        self._sound(name, np.isfinite(small), "NaN or infinite values")
        bounded = small <= LARGEST if name in LOGITS else np.abs(small) <= LARGEST
        self._sound(name, bounded, f"values beyond {LARGEST:g}")
        return array.shape

    def _sound(self, name: str, sound: np.ndarray, words: str) -> None:
        if sound.all():
            return
        first = np.argwhere(~sound)[0].tolist()
        masked = name in LOGITS and np.isneginf(self.arrays[name][tuple(first)])
        hint = "; a class that is masked has a large negative number, such as -1e9" if masked else ""
        raise self.fail(f"{name} has {words}, first at {first}{hint}")

    def integers(self, name: str, size: int, classes: int) -> None:
        if name not in self.arrays:
            raise self.fail(f"has no {name!r}")
        array = self.arrays[name]
        if array.shape != (size,) or array.dtype.kind not in "iu":
            raise self.fail(f"{name} is {array.dtype}{list(array.shape)}, not integer [{size}]")
        if array.min() < 0 or array.max() >= classes:
            raise self.fail(f"{name} must lie in 0..{classes - 1}, found {array.min()}..{array.max()}")

    def counts(self, classes: int) -> Int[np.ndarray, " classes"]:
        array = self.arrays["train_counts"]
        whole = array.shape == (classes,) and array.dtype.kind in "iu"
        if not whole or array.min() < 1 or array.max() > _MOST_IMAGES:
            raise self.fail(f"train_counts must be {classes} integers >= 1")
        if classes < 2:
            raise self.fail("needs at least two classes")
        return array.astype(np.int64)

    def class_names(self, classes: int) -> tuple[str, ...]:
        if "class_names" not in self.metadata:
            return tuple(str(c) for c in range(classes))
        try:
            names: Any = json.loads(self.metadata["class_names"])
        except ValueError:
            names = None
        if not isinstance(names, list) or len(names) != classes:
            raise self.fail(f"metadata class_names must be a JSON list of {classes} names")
        return tuple(str(name) for name in names)

    def heads(self, experts: int, classes: int) -> tuple[int | None, int | None]:
        """Points P and dimension D of the heads, None where there are none."""
        given = [name for name in (*HEADS, "agreement") if name in self.arrays]
        if not given:
            return None, None
        points, _, dim, _ = self.floats("heads", (None, experts, None, classes))
        self.floats("preferences", (points, experts))
        if "preference_priors" in given:
            self.floats("preference_priors", (points, classes))
        return points, dim

    def scale(self) -> float:
        text = self.metadata.get("head_scale", "")
        try:
            return float(text)
        except ValueError:
            raise self.fail(f"metadata head_scale must be the scale of the heads, not {text!r}") from None

    def kind(self) -> str:
        kind = self.metadata.get("target_prior_kind", "approximate")
        if kind not in ("exact", "approximate"):
            raise self.fail(f"metadata target_prior_kind must be exact or approximate, not {kind!r}")
        return kind

    def seen(self, source: int) -> int:
        """How many of the `source` images were trained on."""
        text = self.metadata.get("source_seen", "0")
        if not text.isdecimal() or int(text) > source:
            raise self.fail(f"metadata source_seen must be a whole number of the {source} source images, not {text!r}")
        return int(text)
