"""Streams: what adapters that read the test images in batches, in order, have in common (no adapter).

A stream is the evidence in the order given. A `Reader` reads it batch by batch and says what each is answered with; it
remembers a few arrays and no image, so a stream may be endless (`harness.OnlineAdapter`). `fit` gives one reader a
whole stream; `predict` answers for the same images in the same order. The order is made by the protocol:
`shuffled` is the permutation that every adapter gets, in the others the label prior moves (`harness.protocol.arrival`).
It is an option of the adapter because it is part of a row's identity; the adapter itself only sees what arrives.

Rule for all: `first=answer` answers a batch before it learns from it, so its own images count from the next batch on;
`first=adapt` learns from the batch and then answers it. The default is that of the adapter's paper; compare adapters
under one of the two.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from harness.adapters.parts.calibration import Calibration
from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Logits, PerClass, Prior, Weights
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors

BATCH = 64


Order = Literal["shuffled", "drift", "monotone", "sinusoidal", "square", "bernoulli", "class_correlated"]

First = Literal["adapt", "answer"]


@dataclass
class Reader(ABC):
    """Reads a stream batch by batch. `memory`: all that it remembers, arrays that do not grow with the stream."""

    memory: dict[str, np.ndarray]
    first: First

    def read(self, batch: Evidence) -> tuple[Weights, PerClass]:
        """Read the next batch; return the expert weights [E] and the bias a class [C] that it is answered with."""
        if self.first == "answer":
            found = self.answer()
            self.learn(batch)
            return found
        self.learn(batch)
        return self.answer()

    @abstractmethod
    def answer(self) -> tuple[Weights, PerClass]:
        """Return the expert weights [E] and the bias a class [C] of what was learned so far."""

    @abstractmethod
    def learn(self, batch: Evidence) -> None:
        """Learn from the next batch."""

    @property
    @abstractmethod
    def prior(self) -> Prior:
        """The estimate of the label prior after the batches that were read."""


@dataclass
class CalibratedReader(Reader):
    """A reader that answers with the calibrated mean of expert logits under its prior. experts: their number."""

    calibration: Calibration
    experts: int

    def answer(self) -> tuple[Weights, PerClass]:
        """Return the weights [E] of the calibrated mean and its correction [C] from the reference to the prior."""
        found = self.calibration.corrected(self.experts, self.prior)
        assert found.bias is not None
        return found.weights, found.bias


@dataclass(frozen=True)
class Arriving:
    """Images that arrive in an order, in batches of `batch`; the last batch may be smaller."""

    batch: int = BATCH
    order: Order = "shuffled"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")
        if self.order not in get_args(Order):
            raise ValueError(f"order must be one of {', '.join(get_args(Order))}, not {self.order!r}")

    def batches(self, images: int) -> list[slice]:
        """Return the batches of a stream of `images` images."""
        return _batches(images, self.batch)


@dataclass(frozen=True)
class StreamAdapter(Arriving, Adapter):
    """An adapter that reads images in batches, and answers a batch before or after it learns from it (`first`)."""

    first: First = "adapt"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first not in get_args(First):
            raise ValueError(f"first must be adapt or answer, not {self.first!r}")

    @abstractmethod
    def reader(self, evidence: Evidence, expert_priors: ExpertPriors) -> Reader:
        """Return a reader that has read nothing yet.

        Of `evidence` it uses the source; images are what it reads later.
        """

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> "StreamFitted":
        """Read the stream once; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason, and for logits or views that are not finite.
        """
        images, _, _ = check_evidence(self, evidence, expert_priors)
        self.check(evidence)
        reader = self.reader(evidence, expert_priors)
        read = [reader.read(evidence.take(part, self.reads)) for part in self.batches(images)]
        weights, biases = (np.stack(parts) for parts in zip(*read, strict=True))
        return StreamFitted(images, self.batch, weights, biases, weights[-1], reader.prior)

    def check(self, evidence: Evidence) -> None:
        """Raise ValueError for optional parts that are wrong; here there are none."""


@dataclass(frozen=True)
class StreamFitted:
    """What was known when each of T batches was answered: expert weights [T, E] and a bias a class [T, C].

    weights [E], prior [C]: known after the last batch. images: length of the stream; batch: images a batch.
    """

    images: int
    batch: int
    weights_at: Float[np.ndarray, "batches experts"]
    bias_at: Float[np.ndarray, "batches classes"]
    weights: Weights
    prior: Prior

    def predict(self, evidence: Evidence) -> Logits:
        """Return the adapted logits of the stream that was read, in its order.

        Raises ValueError for one of another length.
        """
        if len(evidence.logits) != self.images:
            raise ValueError(f"a stream of {self.images} images was read; {len(evidence.logits)} are to be predicted")
        return self.answers(evidence, 0)

    def answers(self, part: Evidence, start: int) -> Logits:
        """Return the adapted logits of images that came one after another, the first of them as number `start`."""
        step = (start + np.arange(len(part.logits))) // self.batch
        logits = np.einsum("nec,ne->nc", part.logits, self.weights_at.astype(np.float32)[step])
        logits += self.bias_at.astype(np.float32)[step]
        return logits


def _batches(images: int, batch: int) -> list[slice]:
    return [slice(start, min(start + batch, images)) for start in range(0, images, batch)]
