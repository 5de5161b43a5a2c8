"""Empirical-Bayes EM: a Dirichlet prior on the test prior, its centre and strength from the test images.

Source: ours. EM is Saerens et al., Neural Computation 2002; calibration is Alexandari et al., ICML 2020.
Equation, with the train prior pi and BCTS-calibrated posteriors P_ic that hold under the source prior s:
1. the family q_a proportional to pi^a; a-hat maximises sum_i log sum_c P_ic q_a,c / s_c on [-1.6, 1.6]; m = q_a-hat;
2. EM with q_c proportional to sum_i r_ic + kappa n m_c, where r_ic is proportional to P_ic q_c / s_c;
3. kappa from {0, .003, .01, .03, .1, .3, 1, 3, 30} by the held-out likelihood of the unlabelled test images in four
   folds, the family fitted again to each training part: `rule=two_se` takes the largest kappa whose mean log likelihood
   is within two standard errors (of the difference, over images) of the best, `rule=best` the best;
4. prediction z' + log q - log s with the calibrated logits z'.
So a test prior that follows class frequency is estimated with one number, any other with as many as it needs.
With fewer images than folds kappa is the largest.
Failures: those of calibration (see `em_bcts`). The family knows one direction only; where the prior lies near it but
not on it, the held-out likelihood is flat and the rule decides: `best` takes kappa too small on backward shifts.

Access: labelled source images beyond the training set, as `em_bcts`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from harness.adapters.em import MOST_ITERATIONS, em_prior
from harness.adapters.parts.calibration import Calibration, calibrated, calibrated_posteriors
from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Posteriors, Prior, WeightedExperts
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors, normalise

Rule = Literal["two_se", "best"]

KAPPAS = (0, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 30)
FOLDS = 4
EXPONENTS = np.linspace(-1.6, 1.6, 65)
_TOLERANCE = 1e-5
"""Of the largest change of a prior, where only the likelihood of held-out images is asked for."""


@dataclass(frozen=True)
class Estimate:
    """prior: the estimate [C]; exponent: a-hat of its centre; kappa: the strength that was chosen."""

    prior: Prior
    exponent: float
    kappa: float


@dataclass(frozen=True)
class EbEmFitted(WeightedExperts):
    """The calibrated mean under the estimated prior; `estimate` says how it came about."""

    estimate: Estimate | None = None


@dataclass(frozen=True)
class EbEm(Adapter):
    """Shrinks EM's estimate towards a power of the train prior, as far as the test images ask for it."""

    name: ClassVar[str] = "eb_em"
    version: ClassVar[int] = 2
    access: ClassVar[Access] = Access("estimated", "source", "transductive")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    rule: Rule = "two_se"

    def __post_init__(self) -> None:
        if self.rule not in ("two_se", "best"):
            raise ValueError(f"rule must be two_se or best, not {self.rule!r}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> EbEmFitted:
        """Estimate the prior of the images in `evidence`; `seed` decides the folds.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        check_evidence(self, evidence, expert_priors)
        assert evidence.source is not None  # `missing` refused it
        calibration = calibrated(evidence.source)
        return self.answer(evidence, calibration, self.estimate(evidence, calibration, counts, seed))

    def estimate(self, evidence: Evidence, calibration: Calibration, counts: Counts, seed: int) -> Estimate:
        """Steps 1 to 3 on posteriors under the prior of `calibration`."""
        posteriors = calibrated_posteriors(calibration, evidence)
        ratios = posteriors / calibration.prior
        likelihoods = family_log_likelihoods(ratios, counts)
        exponent = best_exponent(likelihoods.sum(axis=0))
        centre, images = power(counts, exponent), len(ratios)
        kappa = float(KAPPAS[-1])
        if images >= FOLDS:
            folds = folds_of(images, seed)
            kappa = choose(held_out(ratios, counts, likelihoods, folds), self.rule)
        result = em_prior(posteriors, calibration.prior, start=centre, added=kappa * images * centre)
        return Estimate(result.prior, exponent, kappa)

    def answer(self, evidence: Evidence, calibration: Calibration, estimate: Estimate) -> EbEmFitted:
        """Step 4."""
        made = calibration.corrected(evidence.logits.shape[1], estimate.prior)
        return EbEmFitted(made.weights, made.bias, made.prior, estimate)


def folds_of(images: int, seed: int) -> Int[np.ndarray, " images"]:
    """The fold of each image, as equal in size as can be.

    Random numbers of its own: those of the seed alone also make the order of arrival (`harness.protocol.arrival`), and
    folds from the same permutation would follow the order of the draw, which is by class.
    """
    return np.random.default_rng((seed, FOLDS)).permutation(images) % FOLDS


def power(counts: Counts, exponent: float) -> Prior:
    """normalise(pi^a), [C]."""
    logs = exponent * np.log(np.asarray(counts, dtype=np.float64))
    return normalise(np.exp(logs - logs.max()))


def family_log_likelihoods(ratios: Posteriors, counts: Counts) -> Float[np.ndarray, "images exponents"]:
    """log sum_c ratio_ic q_a,c of each image at each of EXPONENTS."""
    members = np.stack([power(counts, exponent) for exponent in EXPONENTS], axis=1)
    return np.log(ratios @ members)


def best_exponent(totals: Float[np.ndarray, " exponents"]) -> float:
    """Where `totals` at EXPONENTS are largest, refined by the parabola through the largest and its neighbours."""
    top = int(totals.argmax())
    if top in (0, len(totals) - 1):
        return float(EXPONENTS[top])
    before, here, after = totals[top - 1 : top + 2]
    bend = before - 2 * here + after
    offset = 0.0 if bend >= 0 else (before - after) / (2 * bend)
    return float(EXPONENTS[top] + offset * (EXPONENTS[1] - EXPONENTS[0]))


def held_out(
    ratios: Posteriors,
    counts: Counts,
    likelihoods: Float[np.ndarray, "images exponents"],
    folds: Int[np.ndarray, " images"],
) -> Float[np.ndarray, "images kappas"]:
    """log sum_c ratio_ic q_c of each image, q fitted with each of KAPPAS to the folds that the image is not in."""
    kappas = np.array(KAPPAS)
    totals = likelihoods.sum(axis=0)
    found = np.empty((len(ratios), len(kappas)))
    for fold in range(FOLDS):
        out = folds == fold
        kept = ratios[~out]
        centre = power(counts, best_exponent(totals - likelihoods[out].sum(axis=0)))
        # A prior that gave up a class can make an image impossible: very unlikely is enough, and stays finite.
        found[out] = np.log(np.maximum(ratios[out] @ _map_priors(kept, centre, kappas), np.finfo(np.float64).tiny))
    return found


def _map_priors(
    ratios: Posteriors,
    centre: Prior,
    kappas: Float[np.ndarray, " kappas"],
) -> Float[np.ndarray, "classes kappas"]:
    """EM's fixed points for several kappas at once, each started at the centre."""
    priors = np.repeat(centre[:, None], len(kappas), axis=1)
    added = kappas * len(ratios) * centre[:, None]
    moving = np.arange(len(kappas))
    for _ in range(MOST_ITERATIONS):
        before = priors[:, moving]
        expected = before * (ratios.T @ (1 / (ratios @ before))) + added[:, moving]
        after = expected / expected.sum(axis=0)
        priors[:, moving] = after
        moving = moving[np.abs(after - before).max(axis=0) >= _TOLERANCE]
        if len(moving) == 0:
            break
    return priors


def choose(likelihoods: Float[np.ndarray, "images kappas"], rule: Rule) -> float:
    """The kappa that `rule` takes, given the log likelihood of each held-out image under each of KAPPAS."""
    means = likelihoods.mean(axis=0)
    best = int(means.argmax())
    if rule == "best":
        return float(KAPPAS[best])
    behind = likelihoods[:, [best]] - likelihoods
    near = behind.mean(axis=0) <= 2 * behind.std(axis=0) / np.sqrt(len(likelihoods))
    return float(max(np.array(KAPPAS)[near]))
