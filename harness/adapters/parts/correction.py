"""Correct posteriors for another class prior."""

import numpy as np

from harness.adapters.parts.contract import PerClass, Prior, WeightedExperts
from harness.evidence.arrays import Evidence
from methods.core.priors import LOG_FLOOR, ExpertPriors, target_prior


def prior_correction(wanted: Prior, answered: Prior) -> PerClass:
    """Return log wanted - log answered [C], both clipped at 1e-12: what moves logits from one prior to another."""
    return np.asarray(np.log(np.maximum(wanted, LOG_FLOOR)) - np.log(np.maximum(answered, LOG_FLOOR)))


def corrected_mean(evidence: Evidence, expert_priors: ExpertPriors, prior: Prior) -> WeightedExperts:
    """Return what predicts the mean of expert logits + log prior - log target_prior."""
    experts = evidence.logits.shape[1]
    bias = prior_correction(prior, target_prior(expert_priors))
    return WeightedExperts(np.full(experts, 1 / experts), bias=bias, prior=prior)
