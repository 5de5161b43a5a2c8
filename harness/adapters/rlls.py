"""Regularised learning under label shift: the confusion matrix, inverted with a penalty on the shift.

Source: Azizzadenesheli, Liu, Yang and Anandkumar, "Regularized Learning for Domain Adaptation under Label Shifts",
ICLR 2019.
Equation: w = 1 + gamma theta, theta = argmin over theta >= -1 of ||A theta - (q_pred - p_pred)|| + delta ||theta||
(norms, not squares), with A = P(prediction, label) on the n source images, p_pred = A 1, q_pred the mean prediction on
the test images, gamma = 1 and delta = 0.01 * 3 (2 ln(2C/.05) / (3n) + sqrt(2 ln(2C/.05) / n)) for C classes;
q = normalise(max(s w, 0)) with s the source prior.
Prediction: mean logits + log q - log target_prior, logarithms clipped at 1e-12.
`kind`: `soft` by default, for the reasons in `harness.adapters.bbse`.
Failures: those of BBSE, milder; delta does not shrink with the number of test images.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar, nnls

from harness.adapters.parts.confusion import Confusion, ConfusionAdapter
from harness.adapters.parts.contract import PerClass

GAMMA = 1.0
CONFIDENCE = 0.05
_LOG_RIDGE = (-30.0, 10.0)
"""Where the ridge is looked for, as a natural logarithm: below and above, the solution no longer changes."""


@dataclass(frozen=True)
class Rlls(ConfusionAdapter):
    """Penalised inversion of the confusion matrix."""

    name: ClassVar[str] = "rlls"

    def ratios(self, source: Confusion, found: Float[np.ndarray, " predictions"]) -> PerClass:
        theta = solve(source.joint, found - source.joint.sum(axis=1), penalty(len(found), source.images))
        return 1 + GAMMA * theta


def penalty(classes: int, images: int) -> float:
    """delta for `classes` classes and `images` source images."""
    scale = np.log(2 * classes / CONFIDENCE)
    return float(0.01 * 3 * (2 * scale / (3 * images) + np.sqrt(2 * scale / images)))


def solve(
    matrix: Float[np.ndarray, "predictions classes"], target: Float[np.ndarray, " predictions"], delta: float
) -> PerClass:
    """argmin over theta >= -1 of ||matrix theta - target|| + delta ||theta||, [C].

    A minimiser of the sum of norms is one of ||matrix theta - target||^2 + ridge ||theta||^2 for some ridge (both trade
    the same two norms), so one number is searched: non-negative least squares in theta + 1 gives theta for a ridge, and
    the sum of norms along them has a single minimum.
    """
    classes = matrix.shape[1]

    def at(log_ridge: float) -> PerClass:
        root = np.exp(log_ridge / 2)
        rows = np.vstack([matrix, root * np.eye(classes)])
        return nnls(rows, np.concatenate([target + matrix.sum(axis=1), np.full(classes, root)]))[0] - 1

    def cost(theta: PerClass) -> float:
        return float(np.linalg.norm(matrix @ theta - target) + delta * np.linalg.norm(theta))

    found = minimize_scalar(lambda x: cost(at(x)), bounds=_LOG_RIDGE, method="bounded", options={"xatol": 1e-6})
    return min((at(found.x), np.zeros(classes)), key=cost)
