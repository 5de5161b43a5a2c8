"""The estimate of one batch's label prior from a confusion matrix of calibrated posteriors (no adapter).

Source: the black-box estimate of Lipton et al., ICML 2018, with the ridge that Bai et al., NeurIPS 2022, and Baby et
al., NeurIPS 2023, use for batches.
Equation: e = normalise(max(w, 0) s) with w = (J^T J + 1e-8 I)^-1 J^T p, J = P(prediction, label) on the source by soft
predictions, p the mean posterior of the batch, s the source's class shares; posteriors are calibrated by BCTS. Where
nothing is left above zero e is s.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from harness.adapters.parts.calibration import Calibration, calibrated
from harness.adapters.parts.contract import Posteriors, Prior
from harness.evidence.arrays import Evidence, Source
from methods.core.priors import normalise

RIDGE = 1e-8


@dataclass(frozen=True, eq=False)
class BatchEstimator:
    """The black-box estimator of a batch's label prior. known, labels: the source's posteriors [M, C], classes [M]."""

    calibration: Calibration
    matrix: Float[np.ndarray, "classes predictions"]
    known: Posteriors
    labels: Int[np.ndarray, " source"]

    def estimate(self, batch: Evidence) -> Prior:
        """Return e of the batch."""
        # einsum, not BLAS: a product a batch is too small for threads (`shifts.common.blocks`).
        mean = self.calibration.posteriors(batch).mean(axis=0, dtype=np.float64)
        ratios = np.maximum(np.einsum("cp,p->c", self.matrix, mean), 0)
        return normalise(ratios * self.calibration.prior) if ratios.any() else self.calibration.prior


@lru_cache(maxsize=2)
def batch_estimator(source: Source) -> BatchEstimator:
    """Fit calibration and confusion matrix to the source; kept for as long as the same source is used."""
    calibration = calibrated(source)
    known = calibration.posteriors(Evidence(source.logits)).astype(np.float64)
    classes = known.shape[1]
    joint = np.zeros((classes, classes))
    np.add.at(joint, source.labels, known)
    joint = joint.T / len(known)
    matrix = np.linalg.solve(joint.T @ joint + RIDGE * np.eye(classes), joint.T)
    return BatchEstimator(calibration, matrix, known, source.labels)
