"""ELSA: the moment equation of label shift with the weighting of images that has the least variance.

Source: Tian, Zhang and Zhao, "ELSA: Efficient Label Shift Adaptation through the Lens of Semiparametric Models", ICML
2023.
Equation: w_c = q_c / s_c solves (m / n) sum_test b_i = (sum_source b_i y_i^T) w for m source and n test images, y_i a
source image's label as a unit vector; with pi = m / (m + n), b_i = P_i / (sum_k w_k^2 P_ik / pi + sum_k w_k P_ik / (1 -
pi)), the first time b = P. w is clipped at zero; at most 10 rounds, or until no w changes by more than 1e-6. P are
posteriors under the source's class shares: the softmax of mean logits + log s - log target_prior.
Prediction: mean logits + log q - log target_prior, logarithms clipped at 1e-12.
Failures: it inverts a confusion matrix, as `bbse`, with weights that depend on the answer. With ten classes the rounds
settle; with a hundred classes and fifty source images of each they do not, and it is the worst of the estimators (SADE
on CIFAR100-LT: TV .26 to .51, `bbse` .19 to .37, `em_bcts` .11 to .16), calibrated or not. An image that only classes
with w = 0 explain would weigh without bound; its denominator counts as .01.

Access: labelled source images beyond the training set, as `bbse`. Calibration is not needed for w to be consistent.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.confusion import Confusion
from harness.adapters.parts.contract import Adapter, Counts, PerClass, Posteriors, WeightedExperts
from harness.adapters.parts.correction import corrected_mean, prior_correction
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_finite
from methods.core.priors import ExpertPriors, normalise, target_prior

ROUNDS = 10
_TOLERANCE = 1e-6
_LEAST = 0.01
"""Of a denominator; it is 1 / (pi (1 - pi)) >= 4 for every image where there is no shift."""


@dataclass(frozen=True)
class Elsa(Adapter):
    """Weighted moments of posteriors, a few rounds."""

    name: ClassVar[str] = "elsa"
    access: ClassVar[Access] = Access("estimated", "source", "transductive")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Estimate the prior of the images in `evidence`; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        _, _, classes = check_evidence(self, evidence, expert_priors)
        source = evidence.source
        assert source is not None  # `missing` refused it
        check_finite(source.logits, "source logits", image_axis=0)
        shares = normalise(np.bincount(source.labels, minlength=classes))
        moved = prior_correction(shares, target_prior(expert_priors))
        known, asked = (softmax(one.logits.mean(1, dtype=float) + moved, axis=1) for one in (source, evidence))
        order = np.argsort(source.labels, kind="stable")
        starts = np.concatenate([[0], np.bincount(source.labels, minlength=classes).cumsum()[:-1]])
        ratios = efficient_ratios(known[order], starts, shares, asked)
        found = Confusion(np.diag(shares), shares, len(known)).nearest_prior(shares * ratios)
        return corrected_mean(evidence, expert_priors, found)


def efficient_ratios(known: Posteriors, starts: np.ndarray, shares: PerClass, asked: Posteriors) -> PerClass:
    """Return w [C] from posteriors of source images, sorted by class, and of test images.

    starts: where each class begins; shares: of the source's classes.
    """
    part = len(known) / (len(known) + len(asked))
    ratios = np.ones(len(starts))
    weighed_known, weighed_asked = known, asked
    for _ in range(ROUNDS):
        joint = np.add.reduceat(weighed_known, starts, axis=0).T / len(known)
        before, ratios = ratios, Confusion(joint, shares, len(known)).ratios(weighed_asked.mean(axis=0))
        ratios = np.maximum(ratios, 0)
        if np.abs(ratios - before).max() <= _TOLERANCE or not ratios.any():
            break
        weighed_known, weighed_asked = (weighed(one, ratios, part) for one in (known, asked))
    return ratios


def weighed(posteriors: Posteriors, ratios: PerClass, part: float) -> Float[np.ndarray, "images classes"]:
    """Return b of images; part: the share pi of source images among all."""
    by = posteriors @ (ratios**2 / part + ratios / (1 - part))
    return np.asarray(posteriors / np.maximum(by, _LEAST)[:, None])
