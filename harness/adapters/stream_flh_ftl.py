"""Follow the leading history: means of estimates over windows of every length, mixed by how well each foresaw.

Source: Baby, Garg, Yen, Balakrishnan, Lipton and Wang, "Online Label Shift: Optimal Dynamic Regret meets Practical
Algorithms", NeurIPS 2023 (FLH-FTL).
Equation: with e_1, ..., e_t the batches' estimates (`harness.adapters.parts.batches`), candidate j is the mean of e_j,
..., e_t and q_{t+1} = sum_j v_j (candidate j), q_1 = s. After batch t + 1, v_j <- v_j exp(-eta |candidate j -
e_{t+1}|^2), normalised and times t / (t + 1); a candidate that begins there comes in with 1 / (t + 1). eta = 1 / C. A
batch is answered with z' + log q - log s, z' calibrated by BCTS and s the source's class shares.
Known at batch t: logits of batches 1..t-1 (with `first=adapt` 1..t), and the source. `most` candidates are remembered
(the published procedure is that of fewer batches); then the least v makes room.
Failures: those of calibration. eta is small, so v moves slowly and q stays near to the mean of all batches. An estimate
of 64 images is mostly noise with a hundred classes; where the prior does not move this is behind `stream_em_bcts`.

Access: labelled source images beyond the training set, as `em_bcts`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.batches import BatchEstimator, batch_estimator
from harness.adapters.parts.contract import Prior
from harness.adapters.parts.streams import CalibratedReader, First, StreamAdapter
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors


@dataclass(frozen=True)
class StreamFlhFtl(StreamAdapter):
    """A mixture of running means that begin at every batch."""

    name: ClassVar[str] = "stream_flh_ftl"
    access: ClassVar[Access] = Access("estimated", "source", "stream")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    first: First = "answer"
    most: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.most < 1:
            raise ValueError(f"most must be at least 1, not {self.most}")

    def reader(self, evidence: Evidence, expert_priors: ExpertPriors) -> "HistoriesReader":
        assert evidence.source is not None  # `missing` refused it
        experts, classes = expert_priors.values.shape
        estimator = batch_estimator(evidence.source)
        memory = {
            "means": np.zeros((self.most, classes)),
            "ages": np.zeros(self.most, np.int64),
            "shares": np.zeros(self.most),
            "batches": np.array(0),
            "prior": estimator.calibration.prior,
        }
        return HistoriesReader(memory, self.first, estimator.calibration, experts, estimator)


@dataclass
class HistoriesReader(CalibratedReader):
    """Remembers candidates: their means [most, C], the batches in each, and v; and the prior that they give."""

    estimator: BatchEstimator

    def learn(self, batch: Evidence) -> None:
        estimate = self.estimator.estimate(batch)
        means, ages, shares = (self.memory[name].copy() for name in ("means", "ages", "shares"))
        seen = int(self.memory["batches"])
        alive = np.flatnonzero(ages)
        if seen:
            gaps = ((means[alive] - estimate) ** 2).sum(axis=1)
            moved = shares[alive] * np.exp(-(gaps - gaps.min()) / len(estimate))
            shares[alive] = moved / moved.sum() * seen / (seen + 1)
        ages[alive] += 1
        means[alive] += (estimate - means[alive]) / ages[alive, None]
        place = len(alive) if len(alive) < len(ages) else int(shares.argmin())
        means[place], ages[place], shares[place] = estimate, 1, 1 / (seen + 1)
        shares /= shares.sum()
        prior = shares @ means
        self.memory = {
            "means": means,
            "ages": ages,
            "shares": shares,
            "batches": np.array(seen + 1),
            "prior": prior / prior.sum(),
        }

    @property
    def prior(self) -> Prior:
        return self.memory["prior"]
