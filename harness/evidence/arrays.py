"""Evidence as arrays: what a frozen model said of a whole test pool, and what an adapter may see of it."""

from collections.abc import Container
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from harness.evidence.heads import Classifiers, PreferenceHeads
from methods.core.priors import ExpertPriors


@dataclass(frozen=True, eq=False)
class Source:
    """Labelled source images, for estimators that need some. `seen` of them were trained on.

    Compared by identity and never written to, so that what is fitted to it can be kept.
    """

    logits: Float[np.ndarray, "source experts classes"]
    labels: Int[np.ndarray, " source"]
    seen: int


LARGE = ("views", "features", "view_features")
"""Parts of evidence that are many times as large as the logits; an adapter says which it reads."""


@dataclass(frozen=True)
class Evidence:
    """What a frozen model says of a set of images; float32 arrays, no labels.

    logits: clean images; views: K pairs of random views; gate_logits: RIDE's gates; head: what turns features
    into logits for a preference (methods with one; their `logits` and `views` are those at the centre); agreement:
    of views at each point of the head's lattice (`harness.adapters.preference.agreement`), where it is known already;
    classifiers: what turns features into these logits, where that is stored.
    Optional parts are None where a method has none.
    """

    logits: Float[np.ndarray, "images experts classes"]
    views: Float[np.ndarray, "pairs 2 images experts classes"] | None = None
    features: Float[np.ndarray, "images experts dim"] | None = None
    view_features: Float[np.ndarray, "pairs 2 images experts dim"] | None = None
    gate_logits: Float[np.ndarray, "images gates"] | None = None
    head: PreferenceHeads | None = None
    agreement: Float[np.ndarray, "images points"] | None = None
    source: Source | None = None
    classifiers: Classifiers | None = None

    def take(self, indices: Int[np.ndarray, " drawn"] | slice, parts: Container[str] = LARGE) -> "Evidence":
        """Return the evidence of some images, in the order of `indices`; head, classifiers and source stay.

        parts: which of the large arrays (`LARGE`) are taken along; the others are None, as if there were none.
        """
        images_axis = {"logits": 0, "gate_logits": 0, "agreement": 0, "features": 0, "views": 2, "view_features": 2}
        taken: dict[str, Any] = {}
        for name, axis in images_axis.items():
            array = getattr(self, name)
            left = array is None or (name in LARGE and name not in parts)
            taken[name] = None if left else _taken(array, indices, axis)
        return replace(self, **taken)


def _taken(
    array: Float[np.ndarray, "..."], indices: Int[np.ndarray, " drawn"] | slice, axis: int
) -> Float[np.ndarray, "..."]:
    if isinstance(indices, slice):
        return array[(slice(None),) * axis + (indices,)]
    # Two to three times as fast as an index, and what it makes lies in order.
    return np.take(array, indices, axis=axis)


EVIDENCE_VERSION = 2
"""Raised whenever the same checkpoint and data would give other arrays."""


@dataclass(frozen=True)
class UnlabelledEvidence:
    """Evidence of images whose labels nobody knows, or nobody is to see; ids: a name of each image, where there are."""

    evidence: Evidence
    train_counts: Int[np.ndarray, " classes"]
    expert_priors: ExpertPriors
    class_names: tuple[str, ...]
    metadata: dict[str, str]
    ids: tuple[str, ...] | None = None


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


def of_torch(numbers: Any) -> Any:
    """Return a tensor of torch, which need not be there, as an array; anything else as it is."""
    if not hasattr(numbers, "detach"):
        return numbers
    tensor = numbers.detach().cpu()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
