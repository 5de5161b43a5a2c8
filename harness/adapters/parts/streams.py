"""Streams: what adapters that read the test images in batches, in order, have in common (no adapter).

A stream is the evidence in the order given. `fit` reads it once, batch by batch, and keeps what it knew when it had to
answer for each batch; `predict` answers for the same images in the same order. The order is made by the protocol:
`shuffled` is the permutation that every adapter gets, `drift` one in which the label prior moves from forward to
backward (`harness.protocol.arrival`). It is an option of the adapter because it is part of a row's identity; the
adapter itself only sees what arrives.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from harness.adapters.parts.contract import Adapter, Logits, Prior, Weights
from harness.evidence.arrays import Evidence

BATCH = 64


Order = Literal["shuffled", "drift"]


@dataclass(frozen=True)
class StreamAdapter(Adapter):
    """An adapter that reads batches of `batch` images in order; the last one may be smaller."""

    batch: int = BATCH
    order: Order = "shuffled"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")
        if self.order not in ("shuffled", "drift"):
            raise ValueError(f"order must be shuffled or drift, not {self.order!r}")

    def batches(self, images: int) -> list[slice]:
        """The batches of a stream of `images` images."""
        return [slice(start, min(start + self.batch, images)) for start in range(0, images, self.batch)]


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
        """Adapted logits of the stream that was read, in its order. Raises ValueError for one of another length."""
        if len(evidence.logits) != self.images:
            raise ValueError(f"a stream of {self.images} images was read; {len(evidence.logits)} are to be predicted")
        step = np.arange(self.images) // self.batch
        logits = np.einsum("nec,ne->nc", evidence.logits, self.weights_at.astype(np.float32)[step])
        return logits + self.bias_at.astype(np.float32)[step]
