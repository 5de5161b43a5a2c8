"""Estimates and their errors beside those of kept public packages, on the same arrays (extra `peers`)."""

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from harness.adapters.cm_ml import likeliest_mixture
from harness.adapters.kdey_ml import densities
from harness.adapters.parts.calibration import calibrated, uncalibrated
from harness.adapters.parts.confusion import confusion, frequencies
from harness.adapters.parts.likelihood import likeliest_prior
from harness.evidence.arrays import Evidence
from methods.core.priors import normalise
from shifts.labels.distance import match_distance, relative_error, total_variation
from tests.harness.adapters.test_prior_estimators import BACKWARD, CLASSES, COUNTS, ODD, PRIORS, fit, scene

SHIFTS = pytest.mark.parametrize("prior", [normalise(COUNTS), BACKWARD, ODD], ids=["forward", "backward", "odd"])


def peer(name: str) -> Any:
    """Import a package of the extra `peers`; the test is skipped where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are theirs
        return pytest.importorskip(name, reason=f"{name.partition('.')[0]} is not installed (extra peers)")


def arrays(prior: np.ndarray) -> tuple[Evidence, np.ndarray, np.ndarray]:
    """Evidence, and its calibrated posteriors of source and test images."""
    evidence, _ = scene(prior, images=2000, temperature=1.6)
    assert evidence.source is not None
    calibration = calibrated(evidence.source)
    known, asked = (softmax(calibration.apply(one.logits.mean(1)), 1) for one in (evidence.source, evidence))
    return evidence, known, asked


@SHIFTS
def test_em_bcts_is_abstentions_em_on_the_same_posteriors(prior: np.ndarray) -> None:
    """Their adapter calibrates its reference and its answer and not what EM iterates on: so calibrate outside."""
    theirs = peer("abstention.label_shift")
    evidence, known, asked = arrays(prior)
    made = theirs.EMImbalanceAdapter(max_iterations=3000, tolerance=1e-9)(asked, known)
    found = normalise(made.multipliers * known.mean(axis=0))
    assert total_variation(fit("em_bcts", evidence).prior, found) < 2e-3


@SHIFTS
@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_bbse_is_abstentions(prior: np.ndarray, kind: str) -> None:
    theirs = peer("abstention.label_shift")
    evidence, _ = scene(prior, images=2000)
    assert evidence.source is not None
    known, asked = (softmax(one.logits.mean(1, dtype=float), 1) for one in (evidence.source, evidence))
    labels = np.eye(CLASSES)[evidence.source.labels]
    estimator = theirs.BBSEImbalanceAdapter(soft=kind == "soft")
    weights = np.maximum(estimator(labels, asked, known).multipliers, 0)
    found = normalise(weights * labels.mean(axis=0))
    assert total_variation(fit(f"bbse:kind={kind}", evidence).prior, found) < 1e-3


@SHIFTS
def test_em_is_quapys_em_with_a_tolerance_of_ours(prior: np.ndarray) -> None:
    theirs = peer("quapy.method.aggregative")
    evidence, _ = scene(prior, images=2000)
    answers = uncalibrated(PRIORS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.EMQ.MAX_ITER = 5000
        found, _ = theirs.EMQ.EM(answers.prior, answers.posteriors(evidence).astype(float), epsilon=1e-9)
    assert total_variation(fit("em", evidence).prior, found) < 2e-3


@SHIFTS
def test_kdey_ml_is_quapys(prior: np.ndarray) -> None:
    theirs = peer("quapy.method.aggregative")
    evidence, _ = scene(prior, images=400)
    assert evidence.source is not None
    answers, labels = uncalibrated(PRIORS), evidence.source.labels
    known, asked = answers.posteriors(Evidence(evidence.source.logits)), answers.posteriors(evidence)
    made = theirs.KDEyML(bandwidth=0.1, random_state=0)
    made.mix_densities = made.get_mixture_components(known, labels, np.arange(CLASSES), 0.1, "gaussian")
    theirs_at = np.stack([made.pdf(one, asked, "gaussian") for one in made.mix_densities], axis=1)
    ours_at = densities(asked, known, labels, CLASSES, 0.1)
    np.testing.assert_allclose(
        ours_at / ours_at.sum(1, keepdims=True), theirs_at / theirs_at.sum(1, keepdims=True), atol=1e-4
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = made.aggregate(asked.astype(float))
    assert total_variation(fit("kdey_ml", evidence).prior, found) < 5e-3


def test_errors_are_quapys() -> None:
    theirs = peer("quapy.error")
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, estimate = rng.dirichlet(np.full(7, 0.3), size=2)
        assert 2 * total_variation(estimate, truth) / 7 == pytest.approx(theirs.ae(truth, estimate))
        assert relative_error(estimate, truth, 250) == pytest.approx(theirs.rae(truth, estimate, eps=1 / 500))
        assert match_distance(estimate, truth) == pytest.approx(theirs.nmd(truth, estimate))


@SHIFTS
def test_cm_ml_is_as_likely_as_what_em_finds(prior: np.ndarray) -> None:
    """No kept package has it; the peer is this program's likelihood on predictions as images."""
    evidence, _ = scene(prior, images=500)
    assert evidence.source is not None
    source, found = confusion(evidence.source, "soft"), frequencies(evidence.logits, "soft")
    repeated = np.repeat(source.joint / source.prior, np.round(found * 10_000).astype(int), axis=0)
    assert total_variation(likeliest_mixture(source, found), likeliest_prior(repeated, source.prior)) < 5e-3
