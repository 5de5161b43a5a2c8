"""EM with running counts over a stream: counts grow batch by batch, each image is looked at once.

Source: Saerens et al., Neural Computation 2002 (EM); Cappe and Moulines, JRSS B 2009 (the online form).
Equation: counts N start at one batch of s = target_prior(expert_priors). For each batch, responsibilities r_ic
proportional to P_ic q_c / s_c with q = N / sum N; then N = memory N + sum_i r_i, and the batch is answered with
z + log q - log s for the new q. P is the softmax of the mean logits; logarithms are clipped at 1e-12.
Known at batch t: logits of batches 1..t (with `first=answer` 1..t-1).
`memory` below 1 forgets: counts fall to 1/e within 1 / (1 - memory) batches, for streams that drift.
Failures: those of `em`. Responsibilities of early batches were found with an early q and are not found again; where
posteriors are wrong that helps, since EM does not reach its fixed point.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import softmax

from harness.adapters.parts.calibration import Calibration, uncalibrated
from harness.adapters.parts.contract import Prior
from harness.adapters.parts.streams import CalibratedReader, StreamAdapter
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import LOG_FLOOR, ExpertPriors, normalise


@dataclass(frozen=True)
class StreamEm(StreamAdapter):
    """Online EM with the derived target prior as reference and start."""

    name: ClassVar[str] = "stream_em"
    access: ClassVar[Access] = Access("estimated", "none", "stream")

    memory: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.memory <= 1:
            raise ValueError(f"memory must lie in 0..1, not {self.memory}")

    def reader(self, evidence: Evidence, expert_priors: ExpertPriors) -> "EmReader":
        calibration = self.calibration(evidence, expert_priors)
        held = normalise(np.maximum(calibration.prior, LOG_FLOOR))
        counts, experts = self.batch * held, len(expert_priors.values)
        return EmReader({"counts": counts}, self.first, calibration, experts, held, self.memory)

    def calibration(self, evidence: Evidence, expert_priors: ExpertPriors) -> Calibration:
        """Return what logits are passed through first: here nothing, and they answer for the target prior."""
        return uncalibrated(expert_priors)


@dataclass
class EmReader(CalibratedReader):
    """Remembers the running counts [C]. held: the prior that calibrated posteriors hold under; kept: `memory`."""

    held: Prior
    kept: float

    def learn(self, batch: Evidence) -> None:
        logits = self.calibration.apply(batch.logits.mean(axis=1, dtype=np.float64))
        joint = softmax(logits, axis=1) / self.held * self.memory["counts"]
        self.memory["counts"] = self.kept * self.memory["counts"] + (joint / joint.sum(axis=1, keepdims=True)).sum(0)

    @property
    def prior(self) -> Prior:
        return normalise(self.memory["counts"])
