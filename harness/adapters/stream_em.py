"""EM with running counts over a stream: counts grow batch by batch, each image is looked at once.

Source: Saerens et al., Neural Computation 2002 (EM); Cappe and Moulines, JRSS B 2009 (the online form).
Equation: counts N start at one batch of s = target_prior(expert_priors). For each batch, responsibilities r_ic
proportional to P_ic q_c / s_c with q = N / sum N; then N = memory N + sum_i r_i, and the batch is answered with
z + log q - log s for the new q. P is the softmax of the mean logits; logarithms are clipped at 1e-12.
Known at batch t: logits of batches 1..t.
`memory` below 1 forgets: counts fall to 1/e within 1 / (1 - memory) batches, for streams that drift.
Failures: those of `em`. Responsibilities of early batches were found with an early q and are not found again; where
posteriors are wrong that helps, since EM does not reach its fixed point.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from harness.adapters.parts.calibration import Calibration
from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Counts, Posteriors, Prior
from harness.adapters.parts.correction import prior_correction
from harness.adapters.parts.streams import StreamAdapter, StreamFitted
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import LOG_FLOOR, ExpertPriors, normalise, target_prior


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

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> StreamFitted:
        """Read the stream once; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        images, experts, _ = check_evidence(self, evidence, expert_priors)
        calibration = self.calibration(evidence, expert_priors)
        posteriors = softmax(calibration.apply(evidence.logits.mean(axis=1, dtype=np.float64)), axis=1)
        priors = self.running(posteriors, calibration.prior)
        weights = np.full((len(priors), experts), calibration.slope / experts)
        biases = calibration.bias + prior_correction(priors, calibration.prior)
        return StreamFitted(images, self.batch, weights, biases, weights[-1], priors[-1])

    def calibration(self, evidence: Evidence, expert_priors: ExpertPriors) -> Calibration:
        """What logits are passed through first: here nothing, and they answer for the target prior."""
        answered = target_prior(expert_priors)
        return Calibration(1.0, np.zeros_like(answered), answered)

    def running(self, posteriors: Posteriors, reference: Prior) -> Float[np.ndarray, "batches classes"]:
        """The estimate that each batch is answered with, from posteriors that hold under `reference`."""
        held = normalise(np.maximum(reference, LOG_FLOOR))
        ratios, seen, found = posteriors / held, self.batch * held, []
        for part in self.batches(len(ratios)):
            joint = ratios[part] * seen
            seen = self.memory * seen + (joint / joint.sum(axis=1, keepdims=True)).sum(axis=0)
            found.append(normalise(seen))
        return np.stack(found)
