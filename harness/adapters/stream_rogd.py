"""Re-weighting by online gradient descent: steps down the estimated error of the re-weighted classifier.

Source: Wu, Guo, Su and Weinberger, "Online Adaptation to Label Distribution Shift", NeurIPS 2021 (OGD, called ROGD in
later papers).
Equation: p_1 = s; after batch t with estimate e_t (`harness.adapters.parts.batches`) p <- the nearest point of the
simplex to p - step * gradient of sum_j e_tj (1 - mean over source images i of class j of b_ij p_j / d_i), with b_i =
P_i / s and d_i = b_i . p: the expected error of a class drawn from the posterior under p. step = sqrt(2 / T) / L with T
= `horizon`, 1,000 batches as in the paper whatever the stream's length, so that an answer does not depend on what
follows; L is the largest norm of the gradient at s of a batch of one class (the paper asks for a bound over the
simplex). A batch is answered with z' + log p - log s, z' calibrated by BCTS and s the source's class shares.
Known at batch t: logits of batches 1..t-1 (with `first=adapt` 1..t), and the source.
Failures: those of calibration. With this step it hardly leaves s: half a point above no adaptation on drifting streams,
less than `stream_em_bcts` gains on a shifted set. With one that suits the length of the stream (`horizon=157` for
10,000 images) it comes to the edge of the simplex, where classes are lost and the gradient has no bound: 16 % instead
of 39 % on a backward set of CIFAR100-LT.

Access: labelled source images beyond the training set, as `em_bcts`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from harness.adapters.parts.batches import BatchEstimator, batch_estimator
from harness.adapters.parts.contract import PerClass, Prior, Ratios
from harness.adapters.parts.streams import CalibratedReader, First, StreamAdapter
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import LOG_FLOOR, ExpertPriors


@dataclass(frozen=True)
class StreamRogd(StreamAdapter):
    """Projected gradient steps, one a batch."""

    name: ClassVar[str] = "stream_rogd"
    access: ClassVar[Access] = Access("estimated", "source", "stream")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    first: First = "answer"
    horizon: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1, not {self.horizon}")

    def reader(self, evidence: Evidence, expert_priors: ExpertPriors) -> "GradientReader":
        assert evidence.source is not None  # `missing` refused it
        estimator = batch_estimator(evidence.source)
        prior = estimator.calibration.prior
        error = ExpectedError(estimator.known / prior, estimator.labels)
        step, experts = np.sqrt(2 / self.horizon) / error.steepest(prior), len(expert_priors.values)
        return GradientReader({"prior": prior}, self.first, estimator.calibration, experts, estimator, error, step)


@dataclass
class GradientReader(CalibratedReader):
    """Remembers p [C]."""

    estimator: BatchEstimator
    error: "ExpectedError"
    step: float

    def learn(self, batch: Evidence) -> None:
        slope = self.error.gradient(self.prior, self.estimator.estimate(batch))
        self.memory = {"prior": onto_simplex(self.prior - self.step * slope)}

    @property
    def prior(self) -> Prior:
        return self.memory["prior"]


@dataclass(frozen=True, eq=False)
class ExpectedError:
    """The loss of p for a test prior e, on source images with ratios b [M, C] and labels [M]."""

    ratios: Ratios
    labels: Int[np.ndarray, " source"]

    def value(self, prior: Prior, wanted: Prior) -> float:
        """Return the loss."""
        own, by, weights = self._parts(prior, wanted)
        return float(wanted.sum() - weights @ (own * prior[self.labels] / by))

    def gradient(self, prior: Prior, wanted: Prior) -> PerClass:
        """Return its gradient by p, [C]."""
        own, by, weights = self._parts(prior, wanted)
        direct = np.bincount(self.labels, weights * own / by, minlength=len(prior))
        return np.asarray((weights * own * prior[self.labels] / by**2) @ self.ratios - direct)

    def steepest(self, prior: Prior) -> float:
        """Return the largest norm of the gradient at `prior` over test priors of one class."""
        own, by, weights = self._parts(prior, np.ones_like(prior))
        shared = (weights * own * prior[self.labels] / by**2)[:, None] * self.ratios
        slopes = np.zeros((len(prior), len(prior)))
        np.add.at(slopes, self.labels, shared)
        slopes -= np.diag(np.bincount(self.labels, weights * own / by, minlength=len(prior)))
        return float(np.maximum(np.linalg.norm(slopes, axis=1).max(), LOG_FLOOR))

    def _parts(
        self, prior: Prior, wanted: Prior
    ) -> tuple[Float[np.ndarray, " source"], Float[np.ndarray, " source"], Float[np.ndarray, " source"]]:
        """Return each image's b of its own class, its d, and its weight in the loss."""
        own = self.ratios[np.arange(len(self.labels)), self.labels]
        images = np.bincount(self.labels, minlength=len(prior))
        return own, np.maximum(self.ratios @ prior, LOG_FLOOR), (wanted / images)[self.labels]


def onto_simplex(values: PerClass) -> Prior:
    """Return the point of the simplex that is nearest to `values`, [C] (Duchi et al., ICML 2008)."""
    values = values - values.max()  # the same for all classes changes nothing; now the largest is not lost in rounding
    falling = np.sort(values)[::-1]
    over = (falling.cumsum() - 1) / np.arange(1, len(values) + 1)
    return np.maximum(values - over[np.flatnonzero(falling > over)[-1]], 0)
