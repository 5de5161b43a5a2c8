"""Adaptation to a stream of images in a program: bounded memory, a state that is saved and restored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from harness import adapters
from harness.adapters.parts.contract import Prior, WeightedExperts
from harness.adapters.parts.streams import Reader, StreamAdapter
from harness.applying.knowledge import Knowledge, knowledge
from harness.evidence import tensors
from methods.core.options import split_name
from shifts.common.errors import BadInput
from shifts.common.files import write_tensors


class OnlineAdapter:
    """Answers for batch after batch of a stream, each with what was known by then; no image is kept.

    adapter: a stream adapter by name, with options on it as in `stream_em_bcts:memory=0.99`.
    """

    def __init__(self, adapter: str = "stream_em_bcts") -> None:
        self.adapter = adapter

    def fit(self, X: Any, y: Any, train_counts: Any = None, expert_priors: Any = None) -> "OnlineAdapter":  # noqa: N803
        """Calibrate on labelled source logits, where the adapter does, and begin a stream.

        The arguments are those of `LabelShiftAdapter.fit`. Raises ValueError for what does not fit and for an adapter
        that reads no stream, BadInput for an unknown one.
        """
        made = adapters.get(self.adapter)
        if not isinstance(made, StreamAdapter):
            able = [name for name in adapters.ADAPTERS if isinstance(adapters.get(name), StreamAdapter)]
            raise ValueError(f"{self.adapter} does not answer step by step; these do: {', '.join(able)}")
        if "order" in split_name(self.adapter)[1]:
            raise ValueError(f"{self.adapter}: images come in the order of the steps; leave out order")
        self.known_: Knowledge = knowledge(X, y, train_counts, expert_priors)
        self.classes_ = self.known_.classes
        known = self.known_.evidence(self.known_.source.logits[:1])
        if "views" not in made.reads and (reason := made.missing(known)) is not None:
            raise ValueError(f"{self.adapter} does not apply: {reason}")
        self._needs_views = "views" in made.reads
        self._reader: Reader = made.reader(known, self.known_.expert_priors)
        self.steps_ = 0
        return self

    def step(self, logits: Any, views: Any = None) -> Float[np.ndarray, "images classes"]:
        """Read the next batch and return its probabilities [B, C].

        logits: [B, C] or [B, E, C]; views: [K, 2, B, E, C], where the adapter reads them. Raises ValueError for
        logits of another model, and for views that are missing.
        """
        reader = self._begun()
        if self._needs_views and views is None:
            raise ValueError(f"{self.adapter} reads views: step(logits, views)")
        batch = self.known_.evidence(logits, views)
        found = WeightedExperts(*reader.read(batch)).predict(batch)
        self.steps_ += 1
        return np.asarray(softmax(found.astype(np.float64), axis=1))

    @property
    def prior(self) -> Prior:
        """The estimated class shares after the batches that were read, [C]."""
        return self._begun().prior.copy()

    def state(self) -> dict[str, np.ndarray]:
        """Return all that is remembered of the stream: arrays whose size does not depend on its length."""
        memory = self._begun().memory
        return {**{name: array.copy() for name, array in memory.items()}, "steps": np.array(self.steps_)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken, after the same `fit`.

        Raises ValueError for the state of another adapter and for numbers that are none; what was known then stays.
        """
        own, given = self.state(), {name: np.asarray(array) for name, array in state.items()}
        mine, theirs = ({name: array.shape for name, array in held.items()} for held in (own, given))
        if mine != theirs:
            raise ValueError(f"the state is of another adapter or model: it has {theirs}, {self.adapter} {mine}")
        for name, array in given.items():
            if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
                raise ValueError(f"the state is damaged: {name} holds what is no finite number")
        memory = {name: given[name].astype(own[name].dtype) for name in own if name != "steps"}
        self._reader.memory, self.steps_ = memory, int(given["steps"])

    def save(self, path: str | Path) -> None:
        """Write the state as a safetensors file, complete or not at all. Raises OSError."""
        write_tensors(Path(path), self.state(), {"adapter": self.adapter})

    def load(self, path: str | Path) -> None:
        """Go on where a file of `save` ended, after the same `fit`. Raises BadInput for a file that does not fit."""
        told = tensors.metadata(Path(path))
        if told is None or "adapter" not in told:
            raise BadInput(f"{path} holds no state of {self.adapter}")
        if adapters.get(told["adapter"]) != adapters.get(self.adapter):
            raise BadInput(f"{path} holds no state of {self.adapter}, but of {told['adapter']}")
        try:
            self.restore(tensors.read(Path(path))[0])
        except ValueError as error:
            raise BadInput(f"{path}: {error}") from error

    def _begun(self) -> Reader:
        if not hasattr(self, "_reader"):
            raise ValueError("fit comes first: there is no stream yet")
        return self._reader
