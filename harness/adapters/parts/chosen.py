"""The result of an adapter that decides whether to adapt: one of two ways to answer, and why (no adapter)."""

from dataclasses import dataclass, field

from harness.adapters.parts.contract import Fitted, Prior, WeightedExperts
from harness.adapters.parts.expected import Expected
from harness.adapters.parts.whether import Unlabelled


@dataclass(frozen=True)
class Chosen(WeightedExperts):
    """The way that was chosen. tried: the adapted one; said: what decided."""

    tried: WeightedExperts = field(kw_only=True)
    said: Unlabelled | Expected = field(kw_only=True)


def choose(plain: WeightedExperts, answered: Prior, adapted: WeightedExperts, said: Unlabelled | Expected) -> Chosen:
    """Return the adapted way where `said` trusts it, else the plain one with the prior that it answers for."""
    if said.adapt:
        return Chosen(adapted.weights, adapted.bias, adapted.prior, adapted.mixture, tried=adapted, said=said)
    return Chosen(plain.weights, prior=answered, tried=adapted, said=said)


def estimate_of(fitted: Fitted) -> Fitted:
    """Return the adapted way, whether or not it was chosen."""
    return fitted.tried if isinstance(fitted, Chosen) else fitted
