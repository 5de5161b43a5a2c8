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

from harness.adapters.parts.calibration import Calibration, calibrated
from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Prior, Ratios, WeightedExperts
from harness.adapters.parts.likelihood import likeliest_prior
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors, normalise

Rule = Literal["two_se", "best"]

KAPPAS = (0, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 30)
FOLDS = 4
EXPONENTS = np.linspace(-1.6, 1.6, 65)
_TOLERANCE = 1e-5
"""Of the largest change of a prior by a step of EM, where only the likelihood of held-out images is asked for."""
_MOST_STEPS = 300


@dataclass(frozen=True)
class EbEm(Adapter):
    """Shrinks EM's estimate towards a power of the train prior, as far as the test images ask for it."""

    name: ClassVar[str] = "eb_em"
    version: ClassVar[int] = 3
    access: ClassVar[Access] = Access("estimated", "source", "transductive")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    rule: Rule = "two_se"

    def __post_init__(self) -> None:
        if self.rule not in ("two_se", "best"):
            raise ValueError(f"rule must be two_se or best, not {self.rule!r}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Estimate the prior of the images in `evidence`; `seed` decides the folds.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        _, experts, _ = check_evidence(self, evidence, expert_priors)
        assert evidence.source is not None  # `missing` refused it
        calibration = calibrated(evidence.source)
        return calibration.corrected(experts, self.estimate(evidence, calibration, counts, seed))

    def estimate(self, evidence: Evidence, calibration: Calibration, counts: Counts, seed: int) -> Prior:
        """Return the estimate of steps 1 to 3 from posteriors under the prior of `calibration`."""
        ratios = calibration.ratios(evidence)
        images = len(ratios)
        likelihoods = family_log_likelihoods(ratios, counts)
        centre, kappa = power(counts, best_exponent(likelihoods.sum(axis=0))), float(KAPPAS[-1])
        if images >= FOLDS:
            kappa = choose(held_out(ratios, counts, likelihoods, folds_of(images, seed)), self.rule)
        return likeliest_prior(ratios, centre, added=kappa * images * centre)


def folds_of(images: int, seed: int) -> Int[np.ndarray, " images"]:
    """Return the fold of each image, as equal in size as can be.

    Random numbers of its own: those of the seed alone also make the order of arrival (`harness.protocol.arrival`), and
    folds from the same permutation would follow the order of the draw, which is by class.
    """
    return np.random.default_rng((seed, FOLDS)).permutation(images) % FOLDS


def power(counts: Counts, exponent: float) -> Prior:
    """Return normalise(pi^a), [C]."""
    logs = exponent * np.log(np.asarray(counts, dtype=np.float64))
    return normalise(np.exp(logs - logs.max()))


def family_log_likelihoods(ratios: Ratios, counts: Counts) -> Float[np.ndarray, "images exponents"]:
    """Return log sum_c ratio_ic q_a,c of each image at each of EXPONENTS."""
    members = np.stack([power(counts, exponent) for exponent in EXPONENTS], axis=1)
    return np.log((ratios @ members.astype(ratios.dtype)).astype(np.float64))


def best_exponent(totals: Float[np.ndarray, " exponents"]) -> float:
    """Return the exponent where `totals` at EXPONENTS are largest.

    It is refined by the parabola through the largest and its neighbours.
    """
    top = int(totals.argmax())
    if top in (0, len(totals) - 1):
        return float(EXPONENTS[top])
    before, here, after = totals[top - 1 : top + 2]
    bend = before - 2 * here + after
    offset = 0.0 if bend >= 0 else (before - after) / (2 * bend)
    return float(EXPONENTS[top] + offset * (EXPONENTS[1] - EXPONENTS[0]))


def held_out(
    ratios: Ratios,
    counts: Counts,
    likelihoods: Float[np.ndarray, "images exponents"],
    folds: Int[np.ndarray, " images"],
) -> Float[np.ndarray, "images kappas"]:
    """Return log sum_c ratio_ic q_c of each image, q fitted with each of KAPPAS to the folds that it is not in."""
    totals = likelihoods.sum(axis=0)
    left = [likelihoods[folds == fold].sum(axis=0) for fold in range(FOLDS)]
    centres = np.stack([power(counts, best_exponent(totals - part)) for part in left], axis=1)
    kept = folds[:, None] != np.arange(FOLDS)
    # One problem a fold and kappa, those of a fold side by side.
    fold = np.repeat(np.arange(FOLDS), len(KAPPAS))
    added = np.tile(KAPPAS, FOLDS) * (kept.sum(axis=0) * centres)[:, fold]
    priors = _map_priors(ratios, centres[:, fold], added, kept[:, fold].astype(ratios.dtype))
    shares = _likelihoods(ratios, priors).reshape(len(ratios), FOLDS, len(KAPPAS))
    return np.log(shares[np.arange(len(ratios)), folds].astype(np.float64))


def _map_priors(
    ratios: Ratios,
    start: Float[np.ndarray, "classes problems"],
    added: Float[np.ndarray, "classes problems"],
    kept: Float[np.ndarray, "images problems"],
) -> Float[np.ndarray, "classes problems"]:
    """Return EM's fixed points for several problems at once, of which each knows the images where `kept` is 1.

    Accelerated by SQUAREM (Varadhan and Roland, Scand. J. Statist. 2008, scheme S3): two steps of EM tell how it
    slows down, a longer one goes on from there, and a step of EM puts right what that overshot.
    """
    priors = start.copy()
    moving = np.arange(start.shape[1])

    def step(before: Float[np.ndarray, "classes moving"]) -> Float[np.ndarray, "classes moving"]:
        shares = ratios.T @ (kept[:, moving] / _likelihoods(ratios, before))
        after = before * shares + added[:, moving]
        return np.asarray(after / after.sum(axis=0))

    for _ in range(_MOST_STEPS // 3):
        first = step(priors[:, moving])
        second = step(first)
        change, bend = first - priors[:, moving], second - 2 * first + priors[:, moving]
        size = np.sqrt((change**2).sum(axis=0) / np.maximum((bend**2).sum(axis=0), np.finfo(np.float64).tiny))
        longer = np.maximum(size, 1)
        ahead = priors[:, moving] + 2 * longer * change + longer**2 * bend
        # A class that would be lost goes on slowly instead.
        ahead = np.where(ahead > 0, ahead, 0.1 * second)
        still = np.abs(second - first).max(axis=0) >= _TOLERANCE
        priors[:, moving] = np.where(still, step(ahead / ahead.sum(axis=0)), second)
        moving = moving[still]
        if len(moving) == 0:
            break
    return priors


def _likelihoods(ratios: Ratios, priors: Float[np.ndarray, "classes problems"]) -> Float[np.ndarray, "images problems"]:
    """Return ratios @ priors, at least 1e-30: a prior that gave up a class can make an image impossible."""
    return np.maximum(ratios @ priors.astype(ratios.dtype), 1e-30)


def choose(likelihoods: Float[np.ndarray, "images kappas"], rule: Rule) -> float:
    """Return the kappa that `rule` takes, given the log likelihood of each held-out image under each of KAPPAS."""
    means = likelihoods.mean(axis=0)
    best = int(means.argmax())
    if rule == "best":
        return float(KAPPAS[best])
    behind = likelihoods[:, [best]] - likelihoods
    near = behind.mean(axis=0) <= 2 * behind.std(axis=0) / np.sqrt(len(likelihoods))
    return float(max(np.array(KAPPAS)[near]))
