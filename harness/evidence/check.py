"""What is wrong with the arrays of an evidence file, by key: the same on reading and on writing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from harness.evidence.arrays import Evidence
from harness.evidence.heads import PreferenceHeads
from shifts.common.errors import BadInput

REQUIRED = ("logits", "train_counts", "expert_priors")


LABELS = "labels"
"""What draws and accuracies need besides; adapting to images does without."""


ARRAYS = ("views", "features", "view_features", "gate_logits", "agreement")


HEADS = ("preferences", "heads", "preference_priors")


CLASSIFIERS = ("classifiers", "classifier_biases")


OPTIONAL = (LABELS, *ARRAYS, *HEADS, *CLASSIFIERS, "source_logits", "source_labels", "ids")


LARGEST = 1e36
"""Largest number: what adapters make of it still is a float32."""


LOGITS = ("logits", "views", "source_logits")
"""What may lie below -LARGEST, as the lowest float32 does: a class that is masked."""


_FLOATS = (np.float16, np.float32, np.float64)


_DIMENSIONS = {"logits": 3, "expert_priors": 2, "views": 5, "features": 3, "view_features": 5, "source_logits": 3}
"""Of arrays that have an axis of experts, the last but one."""


_FIRST = {"classifiers": 3, "classifier_biases": 2}
"""The same of arrays whose first axis it is."""


_MOST_IMAGES = 10**12


_AT_ONCE = 2**22
"""Numbers that are looked at together, so that a large file needs no second one in memory."""


def with_experts(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a single expert whose `logits` are [N, C], with its axis where it was left out."""
    if "logits" not in arrays or arrays["logits"].ndim != 2:
        return dict(arrays)
    made = dict(arrays)
    for places, axis in ((_DIMENSIONS, -2), (_FIRST, 0)):
        made |= {
            name: np.expand_dims(made[name], axis)
            for name, wanted in places.items()
            if name in made and made[name].ndim + 1 == wanted
        }
    return made


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
        flat = array.reshape(-1)
        for start in range(0, flat.size, _AT_ONCE):
            part = flat[start : start + _AT_ONCE]
            with np.errstate(over="ignore"):
                small = part.astype(np.float32, copy=False)
            self._sound(name, start, np.isfinite(part), "NaN or infinite values")
            bounded = small <= LARGEST if name in LOGITS else np.abs(small) <= LARGEST
            self._sound(name, start, bounded, f"values beyond {LARGEST:g}")
        return array.shape

    def _sound(self, name: str, start: int, sound: np.ndarray, words: str) -> None:
        """Raise BadInput that names the first number that is not sound; `start`: how many stand before these."""
        if sound.all():
            return
        array = self.arrays[name]
        first = [int(place) for place in np.unravel_index(start + int(np.argmin(sound)), array.shape)]
        masked = name in LOGITS and np.isneginf(array[tuple(first)])
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
        if classes < 2:
            raise self.fail("needs at least two classes: logits have one column")
        array = self.arrays["train_counts"]
        whole = array.shape == (classes,) and array.dtype.kind in "iu"
        if not whole or array.min() < 1 or array.max() > _MOST_IMAGES:
            raise self.fail(f"train_counts must be {classes} integers >= 1")
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
        try:
            return tuple(str(name).encode().decode() for name in names)
        except UnicodeEncodeError:
            raise self.fail("metadata class_names hold half a character (a lone surrogate)") from None

    def heads(self, experts: int, classes: int) -> tuple[int | None, int | None]:
        """Return the number of points P and the dimension D of the heads, None where there are none."""
        given = [name for name in (*HEADS, "agreement") if name in self.arrays]
        if not given:
            return None, None
        points, _, dim, _ = self.floats("heads", (None, experts, None, classes))
        self.floats("preferences", (points, experts))
        if "preference_priors" in given:
            self.floats("preference_priors", (points, classes))
        return points, dim

    def classifiers(self, experts: int, classes: int) -> int | None:
        """Return the dimension D of the classifiers, None where there are none."""
        given = [name for name in CLASSIFIERS if name in self.arrays]
        if not given:
            return None
        _, dim, _ = self.floats("classifiers", (experts, None, classes))
        if "classifier_biases" in given:
            self.floats("classifier_biases", (experts, classes))
        return dim

    def classifier_scale(self) -> float | None:
        text = self.metadata.get("classifier_scale")
        try:
            return None if text is None else float(text)
        except ValueError:
            raise self.fail(f"metadata classifier_scale must be the scale of the classifiers, not {text!r}") from None

    def ids(self, images: int) -> tuple[str, ...] | None:
        """Return the images' names, None where there are none."""
        if "ids" not in self.arrays:
            return None
        array = self.arrays["ids"]
        try:
            names = tuple(array.tobytes().decode("utf-8").split("\n")) if array.dtype == np.uint8 else ()
        except UnicodeDecodeError:
            names = ()
        if len(names) != images:
            raise self.fail(f"ids must be uint8, the UTF-8 of {images} lines")
        return names

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
        """Return how many of the `source` images were trained on."""
        text = self.metadata.get("source_seen", "0")
        if not text.isdecimal() or int(text) > source:
            raise self.fail(f"metadata source_seen must be a whole number of the {source} source images, not {text!r}")
        return int(text)


def check_finite(values: Float[np.ndarray, "..."], what: str, image_axis: int) -> None:
    """Raise ValueError that names the first image of `values` with NaN or an infinite value."""
    # NaN is the least and the most of all numbers.
    if values.size == 0 or (np.isfinite(values.min()) and np.isfinite(values.max())):
        return
    finite = np.isfinite(values)
    others = tuple(axis for axis in range(values.ndim) if axis != image_axis)
    image = int(np.argmin(finite.all(axis=others)))
    raise ValueError(f"{what} of image {image} are not finite (NaN or infinite)")


def check_labels(labels: Int[np.ndarray, " images"], images: int, classes: int) -> None:
    """Raise ValueError unless `labels` are `images` integers in 0..classes-1."""
    labels = np.asarray(labels)
    if labels.shape != (images,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be {images} integers, not {labels.dtype} of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}")


def usable_heads(evidence: Evidence) -> tuple[PreferenceHeads, Float32[np.ndarray, "images experts dim"]]:
    """Return head and clean features. Raises ValueError where they are missing, not finite or not of these logits."""
    heads, features = evidence.head, evidence.features
    if heads is None or features is None:
        raise ValueError("a preference needs evidence with head and features")
    images, experts, classes = evidence.logits.shape
    _, made_for, dim, made = heads.weights.shape
    if features.shape != (images, experts, dim) or (made_for, made) != (experts, classes):
        raise ValueError(
            f"features of shape {features.shape} and heads of shape {heads.weights.shape} do not belong to logits of "
            f"shape {evidence.logits.shape}"
        )
    check_finite(features, "features", image_axis=0)
    return heads, features
