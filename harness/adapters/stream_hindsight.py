"""The best fixed re-weighting of a stream in hindsight: one prior for all its batches, fitted to all its labels.

Source: what the regret of re-weighting is measured against (Wu et al., NeurIPS 2021), here under the log loss.
Equation: z + log q - log target_prior, with z the mean of expert logits and q the prior with the lowest mean NLL of the
labels; that is convex in log q. A class without a label gets 1e-12.
Failures: it is the best fixed q by NLL, nearly by accuracy. Of a stream whose prior moves an adapter can be better,
which is what the row is for; where the posteriors are not calibrated it corrects that too, with one bias a class.

Access: all labels of the stream, after its end.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import Bounds, minimize

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Counts, Labels, PerClass, Prior, TruthAdapter, WeightedExperts
from harness.adapters.parts.correction import corrected_mean, prior_correction
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_labels
from methods.core.priors import LOG_FLOOR, ExpertPriors, normalise, target_prior
from shifts.common.blocks import row_blocks

_LARGEST = -np.log(LOG_FLOOR)


@dataclass(frozen=True)
class StreamHindsight(TruthAdapter):
    """Mean logits under the fixed prior of the lowest NLL."""

    name: ClassVar[str] = "stream_hindsight"
    access: ClassVar[Access] = Access("oracle", "test", "transductive")

    def fit_with_truth(
        self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, labels: Labels
    ) -> WeightedExperts:
        """Fit the prior to `labels`. Raises ValueError for unusable logits or labels."""
        images, _, classes = check_evidence(self, evidence, expert_priors)
        check_labels(labels, images, classes)
        moved = prior_correction(np.ones(classes), target_prior(expert_priors))
        return corrected_mean(evidence, expert_priors, best_prior(evidence, labels, moved))


def best_prior(evidence: Evidence, labels: Labels, moved: PerClass) -> Prior:
    """Return q with the lowest mean NLL of the mean of expert logits + `moved` + log q."""
    images, _, classes = evidence.logits.shape
    shares = normalise(np.bincount(labels, minlength=classes))
    there = shares > 0
    scores = evidence.logits.mean(axis=1, dtype=np.float64)[:, there] + moved[there]
    scores -= scores.max(axis=1, keepdims=True)

    def cost(bias: PerClass) -> tuple[float, PerClass]:
        partition, answered = 0.0, np.zeros_like(bias)
        for rows in row_blocks(*scores.shape):
            logits = scores[rows] + bias
            top = logits.max(axis=1, keepdims=True)
            powers = np.exp(logits - top)
            totals = powers.sum(axis=1, keepdims=True)
            partition += float((top + np.log(totals)).sum())
            answered += (powers / totals).sum(axis=0)
        return partition / images - float(bias @ shares[there]), answered / images - shares[there]

    start = np.log(shares[there])
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=Bounds(-_LARGEST, _LARGEST)).x
    prior = np.zeros(classes)
    prior[there] = np.exp(found - found.max())
    return normalise(prior)
