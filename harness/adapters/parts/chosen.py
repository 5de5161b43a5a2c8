"""What an adapter that decides whether to adapt comes to: one of two ways to answer, and why (no adapter)."""

from dataclasses import dataclass

from harness.adapters.parts.contract import Prior, WeightedExperts
from harness.adapters.parts.expected import Expected
from harness.adapters.parts.whether import Unlabelled


@dataclass(frozen=True)
class Chosen(WeightedExperts):
    """The way that was chosen. tried: the adapted one; said: what decided."""

    tried: WeightedExperts | None = None
    said: Unlabelled | Expected | None = None


def choose(plain: WeightedExperts, answered: Prior, adapted: WeightedExperts, said: Unlabelled | Expected) -> Chosen:
    """Return the adapted way where `said` trusts it, else the plain one with the prior that it answers for."""
    if said.adapt:
        return Chosen(adapted.weights, adapted.bias, adapted.prior, adapted.mixture, adapted, said)
    return Chosen(plain.weights, prior=answered, tried=adapted, said=said)
