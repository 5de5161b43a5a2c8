"""Follow the history: a batch is answered under the mean of earlier batches' estimates.

Source: Wu, Guo, Su and Weinberger, "Online Adaptation to Label Distribution Shift", NeurIPS 2021 (FTH; FTFWH with a
window), with the estimate of `bbse` (soft predictions).
Equation: each batch gives e_t = s w_t, where joint w_t = the mean prediction on the batch (unbiased, may be negative);
batch t is answered with z + log q_t - log target_prior for q_t = normalise(max(mean of e_0, e_1, ..., e_{t-1}, 0)),
e_0 = target_prior. With `window` > 0 only the last `window` of them count. Logarithms are clipped at 1e-12.
Known at batch t: logits of batches 1..t-1, and the source. The first batch is answered without adaptation.
Failures: those of `bbse`; an estimate from one batch is nearly all noise, so a short window is dear.

Access: labelled source images beyond the training set, as `bbse`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.confusion import confusion, predictions
from harness.adapters.parts.contract import Counts
from harness.adapters.parts.correction import prior_correction
from harness.adapters.parts.streams import StreamAdapter, StreamFitted
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 0:
            raise ValueError(f"window must be at least 0 (all batches), not {self.window}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> StreamFitted:
        """Read the stream once; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        images, experts, _ = check_evidence(self, evidence, expert_priors)
        assert evidence.source is not None  # `missing` refused it
        source, answered = confusion(evidence.source, "soft"), target_prior(expert_priors)
        found, history, priors = predictions(evidence.logits, "soft"), [answered], [answered]
        for part in self.batches(images):
            history.append(source.prior * source.ratios(found[part].mean(axis=0)))
            priors.append(source.nearest_prior(np.mean(history[-self.window :], axis=0)))
        weights = np.full((len(priors) - 1, experts), 1 / experts)
        # The last estimate answers no batch: it is what would be known for the next one.
        biases = prior_correction(np.array(priors[:-1]), answered)
        return StreamFitted(images, self.batch, weights, biases, weights[-1], priors[-1])
