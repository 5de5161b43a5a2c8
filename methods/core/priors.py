"""Label priors that experts answer for, and the prior that a weighted ensemble of them targets (NumPy only)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

LOG_FLOOR = 1e-12
"""Probabilities are clipped here before a logarithm is taken."""


@dataclass(frozen=True)
class ExpertPriors:
    """The label prior under which each expert's softmax is the posterior, derived from its loss.

    values: [experts, classes], each row sums to one. exact: False where margins, mixup or a user's
    preference make the derivation approximate.
    """

    values: Float[np.ndarray, "experts classes"]
    exact: bool

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not np.isfinite(self.values).all() or (self.values < 0).any():
            raise ValueError("expert priors must be a finite, non-negative array [experts, classes]")
        if not np.allclose(self.values.sum(1), 1, atol=1e-6):
            raise ValueError("each expert's prior must sum to one")

    @property
    def kind(self) -> str:
        """`exact` or `approximate`: the row field `target_prior_kind`."""
        return "exact" if self.exact else "approximate"


def normalise(values: ArrayLike) -> Float[np.ndarray, " classes"]:
    """Scale non-negative values [C] to sum to one, in float64. Raises ValueError if they cannot be."""
    array = np.asarray(values, dtype=np.float64)
    total = array.sum()
    if not np.isfinite(total) or total <= 0 or (array < 0).any():
        raise ValueError("a prior needs finite, non-negative values that do not all vanish")
    return np.asarray(array / total)


def reverse_by_rank(prior: ArrayLike) -> Float[np.ndarray, " classes"]:
    """Return `pibar` of SADE (eq. 3): the class with the k-th largest prior gets the k-th smallest value.

    Ties are broken by class index: stable ascending order, ranks reversed.
    """
    values = np.asarray(prior, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    reversed_prior = np.empty_like(values)
    reversed_prior[order] = values[order[::-1]]
    return reversed_prior


def target_prior(
    priors: ExpertPriors, weights: Sequence[float] | Float[np.ndarray, " experts"] | None = None
) -> Float[np.ndarray, " classes"]:
    """Return the label prior that the weighted sum of expert logits answers for: normalise(prod_e p_e^{w_e}).

    weights: [experts], default 1/E each (the mean of logits). Probabilities are clipped at 1e-12.
    """
    experts = priors.values.shape[0]
    shares = np.full(experts, 1 / experts) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (experts,):
        raise ValueError(f"{experts} expert priors need {experts} weights, not shape {shares.shape}")
    log_prior = shares @ np.log(np.maximum(priors.values, LOG_FLOOR))
    return normalise(np.exp(log_prior - log_prior.max()))
