"""The likeliest prior of the test images' posteriors, each class with a density made of kernels at source posteriors.

Source: Moreo, Gonzalez and del Coz, "Kernel Density Estimation for Multiclass Quantification", Machine Learning 2024
(KDEy-ML), as in QuaPy.
Equation: f_c(x) = the mean of N(x; P_j, h^2 I) over source images j of class c; q maximises sum_i log sum_c q_c
f_c(P_i), P being the softmax of the mean logits of source and test images. The density's normaliser is the same for all
classes (its logarithm is +138 at C = 100) and is left out; each image's densities are divided by its largest kernel.
Prediction: mean logits + log q - log target_prior, logarithms clipped at 1e-12.
Failures: with many classes nearly all posteriors lie near a corner of the simplex or are alone, and one width for all
is wrong somewhere; `width=0.3` is worse than no estimate on both reference data sets. Behind `cm_ml` at 100 classes. It
takes as many kernels as there are pairs of a source and a test image: seconds where both are tens of thousands.

Access: labelled source images beyond the training set, as `bbse`; the posteriors need no calibration.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from harness.adapters.parts.calibration import uncalibrated
from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Posteriors, WeightedExperts
from harness.adapters.parts.correction import corrected_mean
from harness.adapters.parts.likelihood import likeliest_prior
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_finite
from methods.core.priors import ExpertPriors, normalise
from shifts.common.blocks import row_blocks


@dataclass(frozen=True)
class KdeyMl(Adapter):
    """The likeliest mixture of class densities on the simplex."""

    name: ClassVar[str] = "kdey_ml"
    access: ClassVar[Access] = Access("estimated", "source", "transductive")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    width: float = 0.1

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise ValueError(f"width must be above zero, not {self.width}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Estimate the prior of the images in `evidence`; nothing is random, so `seed` is not used.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        _, _, classes = check_evidence(self, evidence, expert_priors)
        source = evidence.source
        assert source is not None  # `missing` refused it
        check_finite(source.logits, "source logits", image_axis=0)
        answers = uncalibrated(expert_priors)
        known = answers.posteriors(Evidence(source.logits))
        found = densities(answers.posteriors(evidence), known, source.labels, classes, self.width)
        start = normalise(np.bincount(source.labels, minlength=classes))
        return corrected_mean(evidence, expert_priors, likeliest_prior(found, start))


def densities(
    asked: Posteriors, known: Posteriors, labels: Int[np.ndarray, " source"], classes: int, width: float
) -> Float[np.ndarray, "images classes"]:
    """Return f_c of each image in `asked`, up to a factor an image; float32.

    A class without an image in `known` becomes one point at the uniform prior.
    """
    empty = np.setdiff1d(np.arange(classes), labels)
    known = np.concatenate([known, np.full((len(empty), classes), 1 / classes, known.dtype)])
    labels = np.concatenate([labels, empty])
    order = np.argsort(labels, kind="stable")
    known, sizes = known[order], np.bincount(labels, minlength=classes)
    starts = np.concatenate([[0], sizes.cumsum()[:-1]])
    # -|x - p|^2 / (2 h^2) less what x alone adds, which is a factor an image.
    scaled = known.T / np.float32(width**2)
    own = np.einsum("jc,jc->j", known, known) / np.float32(2 * width**2)
    found = np.empty((len(asked), classes), np.float32)
    for rows in row_blocks(len(asked), len(known)):
        kernels = asked[rows] @ scaled
        kernels -= own
        kernels -= kernels.max(axis=1, keepdims=True)
        np.exp(kernels, out=kernels)
        found[rows] = np.add.reduceat(kernels, starts, axis=1) / sizes.astype(np.float32)
    return found
