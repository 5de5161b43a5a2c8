"""Follow the history: a batch is answered under the mean of earlier batches' estimates.

Source: Wu, Guo, Su and Weinberger, "Online Adaptation to Label Distribution Shift", NeurIPS 2021 (FTH; FTFWH with a
window), with the estimate of `bbse` (soft predictions).
Equation: each batch gives e_t = s w_t, where joint w_t = the mean prediction on the batch (unbiased, may be negative);
batch t is answered with z + log q_t - log target_prior for q_t = normalise(max(mean of e_0, e_1, ..., e_{t-1}, 0)),
e_0 = target_prior. With `window` > 0 only the last `window` of them count. Logarithms are clipped at 1e-12.
Known at batch t: logits of batches 1..t-1 (with `first=adapt` 1..t), and the source. The first batch is answered
without adaptation.
Failures: those of `bbse`; an estimate from one batch is nearly all noise, so a short window is dear.

Access: labelled source images beyond the training set, as `bbse`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.confusion import Confusion, confusion, frequencies
from harness.adapters.parts.contract import PerClass, Prior, Weights
from harness.adapters.parts.correction import prior_correction
from harness.adapters.parts.streams import First, Reader, StreamAdapter
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors, target_prior


@dataclass(frozen=True)
class StreamHistory(StreamAdapter):
    """The running mean of black-box estimates, one batch late."""

    name: ClassVar[str] = "stream_history"
    access: ClassVar[Access] = Access("estimated", "source", "stream")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    window: int = 0
    first: First = "answer"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 0:
            raise ValueError(f"window must be at least 0 (all batches), not {self.window}")

    def reader(self, evidence: Evidence, expert_priors: ExpertPriors) -> "HistoryReader":
        assert evidence.source is not None  # `missing` refused it
        answered = target_prior(expert_priors)
        kept = {"total": answered, "batches": np.array(1)}
        if self.window:
            kept = {"recent": np.vstack([np.zeros((self.window - 1, len(answered))), answered]), "batches": np.array(1)}
        known, experts = confusion(evidence.source, "soft"), len(expert_priors.values)
        return HistoryReader(kept | {"prior": answered}, self.first, known, answered, self.window, experts)


@dataclass
class HistoryReader(Reader):
    """Remembers the estimates of the last `window` batches, or the sum of all, and the prior that they give."""

    source: Confusion
    answered: Prior
    window: int
    experts: int

    def learn(self, batch: Evidence) -> None:
        found = frequencies(batch.logits, "soft")
        mean = self._remember(self.source.prior * self.source.ratios(found))
        self.memory["prior"] = self.source.nearest_prior(mean)

    def answer(self) -> tuple[Weights, PerClass]:
        return np.full(self.experts, 1 / self.experts), prior_correction(self.prior, self.answered)

    def _remember(self, estimate: PerClass) -> PerClass:
        """Return the mean of the estimates that count, `estimate` the last of them."""
        if self.window:
            self.memory["recent"] = np.vstack([self.memory["recent"][1:], estimate])
            self.memory["batches"] = np.minimum(self.memory["batches"] + 1, self.window)
            return np.asarray(self.memory["recent"][-int(self.memory["batches"]) :].mean(axis=0))
        self.memory["total"] = self.memory["total"] + estimate
        self.memory["batches"] = self.memory["batches"] + 1
        return np.asarray(self.memory["total"] / self.memory["batches"])

    @property
    def prior(self) -> Prior:
        return self.memory["prior"]
