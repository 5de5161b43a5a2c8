"""SHOT's objective over stored features: sure answers that are spread over the classes.

Source: Liang, Hu and Feng, "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised
Domain Adaptation", ICML 2020 (its information maximisation, without pseudo-labels), on the last layer as `tent_head`.
Equation: as `tent_head`, with KL(mean answer of the batch, q) added to the mean entropy; q is uniform (SHOT), or with
`towards=target` the prior that the mean of logits answers for.
Known at batch t: features of batches 1..t-1.
Failures: under label shift the mean answer should not be uniform, and it is drawn there. That mends a network that
leans to the head (embedded data, uniform set: a single network 58.4 to 64.0 %) and spoils one that does not (SADE 72.4
to 68.7 %, backward 74.3 to 60.8 %). A batch of 32 cannot be spread over a hundred classes.

Access: features and classifiers (`--features`, or those of a file); no label and no prior.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from harness.adapters.parts.contract import Logits, Prior
from harness.adapters.tent_head import TentHead
from methods.core.priors import LOG_FLOOR

Towards = Literal["uniform", "target"]


@dataclass(frozen=True)
class ShotHead(TentHead):
    """Steps down entropy and the distance of the mean answer from a prior."""

    name: ClassVar[str] = "shot_head"

    towards: Towards = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.towards not in ("uniform", "target"):
            raise ValueError(f"towards must be uniform or target, not {self.towards!r}")

    def slope(self, logs: Logits, held: Prior) -> Logits:
        """Return the gradient of the mean entropy plus KL(mean answer, q) by a batch's logits."""
        answers = np.exp(logs)
        wanted = np.full_like(held, 1 / len(held)) if self.towards == "uniform" else held
        mean = np.maximum(answers.mean(axis=0), LOG_FLOOR)
        toll = np.log(mean) - np.log(np.maximum(wanted, LOG_FLOOR))
        spread = answers * (toll - (answers @ toll)[:, None]) / len(logs)
        return np.asarray(super().slope(logs, held) + spread)
