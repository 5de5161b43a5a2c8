"""Evidence: what a frozen model says of the whole test pool, computed once and cached by hash, or read from a file.

One safetensors file holds expert logits of the clean images, of K pairs of random views, and of labelled source
images, with the test labels, train counts and expert priors. A stranger's file has the same form: `logits`
[N, E, C], `labels` [N], `train_counts` [C], `expert_priors` [E, C]; optional `views` [K, 2, N, E, C], `features`
[N, E, D], `view_features` [K, 2, N, E, D], `gate_logits` [N, E-1], `source_logits` [M, E, C], `source_labels` [M];
metadata `class_names` (a JSON list), `target_prior_kind` (exact or approximate). A model whose heads follow a
preference over its experts adds `preferences` [P, E] and `heads` [P, E, D, C] (cosine classifiers; metadata
`head_scale`); optional are `preference_priors` [P, C] (by default normalise(prod_e p_e^alpha_e) of its
`expert_priors`) and `agreement` [N, P]. Labels go to the protocol, which draws and measures; adapters get an
`Evidence`, which has none.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from harness.adapters.base import Evidence, Source
from harness.heads import PreferenceHeads
from methods.priors import ExpertPriors, target_prior
from shifts.errors import BadInput
from shifts.files import atomic

EVIDENCE_VERSION = 2
"""Raised whenever the same checkpoint and data would give other arrays."""

REQUIRED = ("logits", "labels", "train_counts", "expert_priors")
ARRAYS = ("views", "features", "view_features", "gate_logits", "agreement")
HEADS = ("preferences", "heads", "preference_priors")
OPTIONAL = (*ARRAYS, *HEADS, "source_logits", "source_labels")


@dataclass(frozen=True)
class PoolEvidence:
    """Evidence of a whole test pool with what the protocol needs to draw from it and to measure."""

    evidence: Evidence
    labels: Int[np.ndarray, " images"]
    train_counts: Int[np.ndarray, " classes"]
    expert_priors: ExpertPriors
    class_names: tuple[str, ...]
    metadata: dict[str, str]
    accuracies: dict[str, Float[np.ndarray, " classes"]] = field(default_factory=dict, repr=False)
    """Per-class accuracy over the pool of adapters whose predictions do not depend on a draw; filled when asked."""


def save(path: Path, pool: PoolEvidence) -> None:
    """Write a pool's evidence, complete or not at all."""
    evidence = pool.evidence
    tensors = {
        "logits": evidence.logits,
        "labels": pool.labels,
        "train_counts": pool.train_counts,
        "expert_priors": pool.expert_priors.values,
    }
    for name in ARRAYS:
        if getattr(evidence, name) is not None:
            tensors[name] = getattr(evidence, name)
    metadata = dict(pool.metadata)
    if evidence.source is not None:
        tensors |= {"source_logits": evidence.source.logits, "source_labels": evidence.source.labels}
        metadata["source_seen"] = str(evidence.source.seen)
    if evidence.head is not None:
        head = evidence.head
        tensors |= {"preferences": head.points, "heads": head.weights, "preference_priors": head.priors}
        metadata["head_scale"] = repr(float(head.scale))
    metadata |= {"class_names": json.dumps(pool.class_names), "target_prior_kind": pool.expert_priors.kind}
    with atomic(path) as temporary:
        try:
            save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, temporary, metadata)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from error


def metadata(path: Path) -> dict[str, str] | None:
    """The metadata of an evidence file, or None where there is none or it cannot be read."""
    try:
        with safe_open(path, framework="np") as stream:
            return dict(stream.metadata() or {})
    except (SafetensorError, OSError):
        return None


def load(path: Path) -> PoolEvidence:
    """Read and check an evidence file, ours or a stranger's.

    Raises BadInput, naming the file and the key: missing or truncated file, missing or unknown keys, shapes that do
    not fit, labels out of range, classes without a train or test image, values that are not finite.
    """
    if not path.is_file():
        raise BadInput(f"evidence file {path} does not exist")
    try:
        with safe_open(path, framework="np") as stream:
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            meta = dict(stream.metadata() or {})
    except (SafetensorError, OSError, TypeError) as error:
        raise BadInput(f"evidence file {path}: truncated or not a safetensors file ({error})") from error
    check = _Checker(path, arrays)
    check.keys()
    images, experts, classes = check.floats("logits", (None, None, None))
    check.integers("labels", images, classes)
    counts = check.counts(classes)
    check.floats("expert_priors", (experts, classes))
    if len(np.unique(arrays["labels"])) < classes:
        missing = np.setdiff1d(np.arange(classes), arrays["labels"])
        raise BadInput(f"evidence file {path}: labels have no image of class {missing[0]} of 0..{classes - 1}")
    if "views" in arrays:
        check.floats("views", (None, 2, images, experts, classes))
    points, dim = check.heads(experts, classes)
    if "features" in arrays:
        *_, dim = check.floats("features", (images, experts, dim))
    if "view_features" in arrays:
        check.floats("view_features", (None, 2, images, experts, dim))
    if "agreement" in arrays:
        check.floats("agreement", (images, points))
    if "gate_logits" in arrays:
        check.floats("gate_logits", (images, experts - 1))
    source = None
    if "source_logits" in arrays or "source_labels" in arrays:
        size, _, _ = check.floats("source_logits", (None, experts, classes))
        check.integers("source_labels", size, classes)
        source = Source(_float32(arrays["source_logits"]), arrays["source_labels"].astype(np.int64), check.seen(meta))
    names = check.class_names(meta, classes)
    try:
        priors = ExpertPriors(arrays["expert_priors"].astype(np.float64), check.kind(meta) == "exact")
        head = None if points is None else _head(arrays, check.scale(meta), priors)
    except ValueError as error:
        raise BadInput(f"evidence file {path}: {error}") from error
    parts = {name: _float32(arrays[name]) if name in arrays else None for name in ARRAYS}
    evidence = Evidence(_float32(arrays["logits"]), source=source, head=head, **parts)
    return PoolEvidence(evidence, arrays["labels"].astype(np.int64), counts, priors, names, meta)


@dataclass(frozen=True)
class _Checker:
    """Says what is wrong with a file's arrays, by key."""

    path: Path
    arrays: dict[str, np.ndarray]

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
        if not fits or 0 in array.shape or array.dtype.kind != "f":
            wanted = ", ".join("?" if size is None else str(size) for size in shape)
            raise self.fail(f"{name} is {array.dtype}{list(array.shape)}, not floating point [{wanted}]")
        with np.errstate(over="ignore"):
            bad = np.argwhere(~np.isfinite(array.astype(np.float32)))
        if len(bad):
            raise self.fail(f"{name} has NaN or infinite values, first at {bad[0].tolist()}")
        return array.shape

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
        if array.shape != (classes,) or array.dtype.kind not in "iu" or array.min() < 1:
            raise self.fail(f"train_counts must be {classes} integers >= 1")
        if classes < 2:
            raise self.fail("needs at least two classes")
        return array.astype(np.int64)

    def class_names(self, meta: dict[str, str], classes: int) -> tuple[str, ...]:
        if "class_names" not in meta:
            return tuple(str(c) for c in range(classes))
        try:
            names: Any = json.loads(meta["class_names"])
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

    def scale(self, meta: dict[str, str]) -> float:
        text = meta.get("head_scale", "")
        try:
            return float(text)
        except ValueError:
            raise self.fail(f"metadata head_scale must be the scale of the heads, not {text!r}") from None

    def kind(self, meta: dict[str, str]) -> str:
        kind = meta.get("target_prior_kind", "approximate")
        if kind not in ("exact", "approximate"):
            raise self.fail(f"metadata target_prior_kind must be exact or approximate, not {kind!r}")
        return kind

    def seen(self, meta: dict[str, str]) -> int:
        text = meta.get("source_seen", "0")
        if not text.isdigit():
            raise self.fail(f"metadata source_seen must be a whole number, not {text!r}")
        return int(text)


def _head(arrays: dict[str, np.ndarray], scale: float, priors: ExpertPriors) -> PreferenceHeads:
    """Raises ValueError for preferences or priors off the simplex and a scale that is not positive and finite."""
    points = arrays["preferences"].astype(np.float64)
    given = arrays.get("preference_priors")
    wanted = [target_prior(priors, point) for point in points] if given is None else given
    return PreferenceHeads(points, _float32(arrays["heads"]), scale, np.asarray(wanted, dtype=np.float64))


def _float32(array: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.ascontiguousarray(array, dtype=np.float32)
