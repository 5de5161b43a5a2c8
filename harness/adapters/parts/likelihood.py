"""The label prior that makes unlabelled images most likely: where EM ends, found in fewer passes (no adapter).

Source: Saerens, Latinne and Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori Probabilities",
Neural Computation 2002: EM climbs this likelihood. L-BFGS-B is Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 1995.
Equation: with ratios R_ic = P_ic / s_c of posteriors P that hold under a prior s, the estimate maximises
(1/n) sum_i log sum_c R_ic q_c + (1/n) sum_c a_c log q_c over the simplex, a_c being images added to class c (the mode
under a Dirichlet prior with parameters 1 + a). That is concave. Less (1 + sum_c a_c / n) sum_c q_c it has the same
maximum over all q >= 0, and needs no constraint on the sum. A class without a share ends at 1e-12 exactly; EM comes
ever nearer to zero instead, and the time at which it is stopped decides what is left.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import Bounds, minimize

from harness.adapters.parts.calibration import Calibration
from harness.adapters.parts.contract import PerClass, Prior, Ratios, WeightedExperts
from harness.evidence.arrays import Evidence
from methods.core.priors import LOG_FLOOR, normalise
from shifts.common.blocks import row_blocks

FIRST_STEPS = 3
"""Steps of EM before the search: they tell how large each class's share is, and a share is searched in units of it."""

_SEARCH: dict[str, Any] = {"method": "L-BFGS-B", "options": {"maxiter": 1000, "gtol": 1e-7, "ftol": 1e-15}}


def under_likeliest_prior(evidence: Evidence, calibration: Calibration, added: float = 0.0) -> WeightedExperts:
    """Return what predicts calibrated logits under the likeliest prior of these images; the start is the reference."""
    prior = likeliest_prior(calibration.ratios(evidence), calibration.prior, added)
    return calibration.corrected(evidence.logits.shape[1], prior)


def likeliest_prior(
    ratios: Ratios, start: Prior, added: PerClass | float = 0.0, weights: Float[np.ndarray, " images"] | None = None
) -> Prior:
    """Find the prior under which the images of `ratios` are most likely, in float64.

    start: what is known at first; the answer does not depend on it unless several are equally likely. added: images
    added to each class. weights: of images, they sum to one; equal ones where there are none.
    """
    images, classes = ratios.shape
    extra = np.broadcast_to(added, classes) / images
    total = 1 + extra.sum()
    prior = np.maximum(normalise(start), LOG_FLOOR)
    for _ in range(FIRST_STEPS):
        prior = np.maximum(normalise(prior * mean_log_likelihood(ratios, prior, weights)[1] + extra), LOG_FLOOR)
    scale = np.sqrt(np.maximum(prior, 1e-4 / classes))

    def cost(values: PerClass) -> tuple[float, PerClass]:
        prior = values * scale
        likelihood, slope = mean_log_likelihood(ratios, prior, weights)
        value = total * prior.sum() - likelihood - extra @ np.log(prior)
        return float(value), scale * (total - slope - extra / prior)

    found = minimize(cost, prior / scale, jac=True, bounds=Bounds(LOG_FLOOR / scale, np.inf), **_SEARCH)
    return normalise(found.x * scale)


def mean_log_likelihood(
    ratios: Ratios, prior: Float[np.ndarray, " classes"], weights: Float[np.ndarray, " images"] | None = None
) -> tuple[float, PerClass]:
    """Return (1/n) sum_i log sum_c R_ic q_c and its gradient [C], for q = `prior` of any sum; float64.

    weights: of images, in the place of 1/n.
    """
    likelihood, slope = 0.0, np.zeros_like(prior)
    for rows in row_blocks(*ratios.shape):
        block = ratios[rows].astype(np.float64, copy=False)
        shares = block @ prior
        if weights is None:
            likelihood += float(np.log(shares).sum())
            slope += (1 / shares) @ block
        else:
            likelihood += float(weights[rows] @ np.log(shares))
            slope += (weights[rows] / shares) @ block
    return (likelihood, slope) if weights is not None else (likelihood / len(ratios), slope / len(ratios))
