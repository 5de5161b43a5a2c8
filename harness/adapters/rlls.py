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
from jaxtyping import Bool, Float
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar

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

    def ratios(self, source: Confusion, found: Float[np.ndarray, " predictions"], images: int) -> PerClass:
        theta = solve(source.joint, found - source.joint.sum(axis=1), penalty(len(found), source.images))
        return 1 + GAMMA * theta


def penalty(classes: int, images: int) -> float:
    """Return delta for `classes` classes and `images` source images."""
    scale = np.log(2 * classes / CONFIDENCE)
    return float(0.01 * 3 * (2 * scale / (3 * images) + np.sqrt(2 * scale / images)))


def solve(
    matrix: Float[np.ndarray, "predictions classes"], target: Float[np.ndarray, " predictions"], delta: float
) -> PerClass:
    """Return argmin over theta >= -1 of ||matrix theta - target|| + delta ||theta||, [C].

    It is zero where the first norm falls more slowly than delta in every direction. Elsewhere a minimiser of the sum of
    norms is one of ||matrix theta - target||^2 + ridge ||theta||^2 for some ridge (both trade the same two norms), so
    one number is searched: the sum of norms has a single minimum along it.
    """
    gram, moment = matrix.T @ matrix, matrix.T @ target
    if np.linalg.norm(moment) <= delta * np.linalg.norm(target):
        return np.zeros(matrix.shape[1])

    def cost(theta: PerClass) -> float:
        return float(np.linalg.norm(matrix @ theta - target) + delta * np.linalg.norm(theta))

    free = np.ones(matrix.shape[1], dtype=bool)

    def at(log_ridge: float) -> PerClass:
        nonlocal free
        theta, free = ridge_above(gram, moment, float(np.exp(log_ridge)), free)
        return theta

    found = minimize_scalar(lambda x: cost(at(x)), bounds=_LOG_RIDGE, method="bounded", options={"xatol": 1e-6})
    return at(found.x)


def ridge_above(
    gram: Float[np.ndarray, "classes classes"], moment: PerClass, ridge: float, free: Bool[np.ndarray, " classes"]
) -> tuple[PerClass, Bool[np.ndarray, " classes"]]:
    """Return argmin over theta >= -1 of theta (gram + ridge I) theta / 2 - moment theta, and where it is above -1.

    free: a first guess of the latter. Block principal pivoting (Kim and Park, SIAM J. Sci. Comput. 2011): solve for the
    classes that are free, set free or bind all that are on the wrong side, and only the last of them once their number
    no longer falls, which must end.
    """
    size = len(moment)
    regular = gram + ridge * np.eye(size)
    least = 1e-12 * max(float(np.abs(moment).max()), ridge)  # nearer to the bound than this, rounding decides
    fewest, patience = size + 1, 3
    while True:
        theta = np.full(size, -1.0)
        bound = ~free
        if free.any():
            known = moment[free] + regular[np.ix_(free, bound)].sum(axis=1)
            theta[free] = cho_solve(cho_factor(regular[np.ix_(free, free)]), known)
        slope = regular @ theta - moment
        wrong = np.where(free, theta < -1 - 1e-12, slope < -least)
        number = int(wrong.sum())
        if number == 0:
            return np.maximum(theta, -1), free
        if number < fewest:
            fewest, patience = number, 3
        elif patience > 0:
            patience -= 1
        else:
            wrong = np.arange(size) == np.flatnonzero(wrong)[-1]
        free = free ^ wrong
