"""What an adapter answers for unlabelled images, beside what the model answers without it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from harness.adapters.parts.contract import Adapter, Fitted, Logits
from harness.adapters.parts.streams import StreamFitted
from harness.evidence.arrays import Evidence
from shifts.common.blocks import row_blocks


@dataclass(frozen=True, eq=False)
class Answers:
    """The class of each image [N] and its probability, and the class without adaptation."""

    classes: Int[np.ndarray, " images"]
    probabilities: Float[np.ndarray, " images"]
    plain: Int[np.ndarray, " images"]

    @property
    def changed(self) -> float:
        """The share of images whose answer is another one than without adaptation."""
        return float((self.classes != self.plain).mean())


def answers(evidence: Evidence, adapter: Adapter, adapted: Fitted, plain: Fitted) -> Answers:
    """Answer for every image with what was fitted, block by block; a stream is answered as it was read."""
    images, experts, classes = evidence.logits.shape
    found, without = np.empty(images, np.int64), np.empty(images, np.int64)
    probabilities = np.empty(images, np.float32)
    for rows in row_blocks(images, experts * classes):
        shown = evidence.take(rows, adapter.reads)
        logits = adapted.answers(shown, rows.start) if isinstance(adapted, StreamFitted) else adapted.predict(shown)
        found[rows], probabilities[rows] = surest(logits)
        without[rows] = plain.predict(shown).argmax(axis=1)
    return Answers(found, probabilities, without)


def surest(logits: Logits) -> tuple[Int[np.ndarray, " images"], Float[np.ndarray, " images"]]:
    """Return the class with the highest logit, and its probability."""
    classes = logits.argmax(axis=1)
    top = np.take_along_axis(logits, classes[:, None], axis=1)
    return classes, 1 / np.exp(logits - top).sum(axis=1, dtype=np.float64)
