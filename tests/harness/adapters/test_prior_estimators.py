"""Estimators of the test prior from source and test images, against known priors and independent solutions."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from harness import adapters
from harness.adapters.eb_em import (
    EXPONENTS,
    KAPPAS,
    EbEm,
    best_exponent,
    choose,
    family_log_likelihoods,
    held_out,
    power,
)
from harness.adapters.parts.calibration import calibrated, recalibrated
from harness.adapters.parts.confusion import confusion, predictions
from harness.adapters.parts.likelihood import likeliest_prior
from harness.adapters.rlls import penalty, solve
from harness.evidence.arrays import Evidence, Source
from methods.core.priors import ExpertPriors, normalise, target_prior
from shifts.common.errors import BadInput
from shifts.labels.distance import total_variation

ESTIMATORS = ["em_bcts", "em_bcts:bias=false", "map_em", "eb_em", "eb_em:rule=best", "eb_em_recal", "bbse", "rlls"]
ESTIMATORS += ["bbse:kind=hard", "rlls:kind=hard", "cm_ml", "cm_ml:kind=hard", "cm_map", "elsa", "kdey_ml"]
CLASSES = 8
COUNTS = np.array([int(500 * 100 ** (-c / (CLASSES - 1))) for c in range(CLASSES)])
PRIORS = ExpertPriors(np.stack([normalise(COUNTS), np.full(CLASSES, 1 / CLASSES)]), exact=True)


def scene(
    prior: np.ndarray, images: int = 4000, seed: int = 0, temperature: float = 1.0
) -> tuple[Evidence, np.ndarray]:
    """Bayes-optimal experts of Gaussians, with logits times `temperature`; the realised test prior."""
    rng = np.random.default_rng(seed)
    centres = 2.5 * np.linalg.qr(rng.normal(size=(CLASSES, CLASSES)))[0]

    def logits(labels: np.ndarray) -> np.ndarray:
        x = centres[labels] + rng.normal(size=(len(labels), CLASSES))
        likelihoods = x @ centres.T - (centres**2).sum(1) / 2
        return temperature * (likelihoods[:, None] + np.log(PRIORS.values)).astype(np.float32)

    labels = rng.choice(CLASSES, size=images, p=prior)
    known = np.arange(200 * CLASSES) % CLASSES
    return Evidence(logits(labels), source=Source(logits(known), known, 7)), normalise(
        np.bincount(labels, minlength=CLASSES)
    )


def fit(name: str, evidence: Evidence, seed: int = 0, counts: np.ndarray = COUNTS) -> Any:
    return adapters.get(name).fit(evidence, counts, PRIORS, seed)  # type: ignore[union-attr]


BACKWARD = normalise(COUNTS[::-1])
ODD = normalise(np.array([1.0, 9, 1, 9, 1, 9, 1, 9]))


@pytest.mark.parametrize("prior", [normalise(COUNTS), BACKWARD, ODD], ids=["forward", "backward", "odd"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_known_prior_is_found(name: str, prior: np.ndarray) -> None:
    evidence, realised = scene(prior)
    found = fit(name, evidence)
    assert total_variation(found.prior, realised) < 0.05
    assert total_variation(target_prior(PRIORS), realised) > 0.15, "the scene is about a shift"
    assert found.prior.shape == (CLASSES,)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_calibration_finds_what_plain_em_misses(temperature: float) -> None:
    evidence, realised = scene(BACKWARD, temperature=temperature)
    for name in ("em_bcts", "eb_em"):
        assert total_variation(fit(name, evidence).prior, realised) < 0.05
    assert total_variation(fit("em", evidence).prior, realised) > 0.06


@pytest.mark.parametrize("name", ["em_bcts", "eb_em"])
def test_calibrated_predictions_are_those_of_the_estimated_prior(name: str) -> None:
    evidence, _ = scene(ODD, images=300, temperature=2.0)
    found = fit(name, evidence)
    assert evidence.source is not None
    calibration = calibrated(evidence.source)
    expected = calibration.slope * evidence.logits.mean(1) + calibration.bias
    expected += np.log(np.maximum(found.prior, 1e-12)) - np.log(1 / CLASSES)
    np.testing.assert_allclose(log_softmax(found.predict(evidence), 1), log_softmax(expected, 1), atol=1e-3)


@pytest.mark.parametrize("name", ["bbse", "rlls", "map_em", "cm_ml", "cm_map", "elsa", "kdey_ml"])
def test_other_predictions_are_the_corrected_mean(name: str) -> None:
    evidence, _ = scene(ODD, images=300)
    found = fit(name, evidence)
    expected = evidence.logits.mean(1) + np.log(np.maximum(found.prior, 1e-12)) - np.log(target_prior(PRIORS))
    np.testing.assert_allclose(found.predict(evidence), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_bbse_inverts_the_confusion_matrix(kind: str) -> None:
    evidence, _ = scene(normalise(COUNTS), images=2000)
    assert evidence.source is not None
    mean = evidence.source.logits.mean(1)
    share = softmax(mean, 1) if kind == "soft" else np.eye(CLASSES)[mean.argmax(1)]
    joint = np.stack([share[evidence.source.labels == c].mean(0) / CLASSES for c in range(CLASSES)], axis=1)
    np.testing.assert_allclose(confusion(evidence.source, kind).joint, joint, atol=1e-6)  # type: ignore[arg-type]
    test = evidence.logits.mean(1)
    found = (softmax(test, 1) if kind == "soft" else np.eye(CLASSES)[test.argmax(1)]).mean(0)
    expected = np.maximum(np.linalg.solve(joint, found) / CLASSES, 0)
    np.testing.assert_allclose(fit(f"bbse:kind={kind}", evidence).prior, expected / expected.sum(), atol=1e-4)


def test_where_the_confusion_matrix_is_singular_no_shift_is_assumed_of_what_it_hides() -> None:
    """Two classes that are never told apart keep their shares among themselves."""
    source = np.arange(90) % 3
    seen = np.minimum(source, 1)
    logits = 20 * np.eye(3, dtype=np.float32)[seen][:, None]
    evidence = Evidence(logits[:60], source=Source(logits, source, 0))
    priors = ExpertPriors(np.full((1, 3), 1 / 3), exact=True)
    prior = adapters.get("bbse:kind=hard").fit(evidence, np.ones(3, int), priors, 0).prior  # type: ignore[union-attr]
    np.testing.assert_allclose(prior, 1 / 3, atol=1e-6)
    only_first = replace(evidence, logits=logits[source == 0])
    prior = adapters.get("bbse:kind=hard").fit(only_first, np.ones(3, int), priors, 0).prior  # type: ignore[union-attr]
    np.testing.assert_allclose(prior, [1, 0, 0], atol=1e-6)


def test_a_prediction_that_no_source_image_gets_says_nothing() -> None:
    source = np.arange(90) % 3
    logits = 20 * np.eye(3, dtype=np.float32)[np.minimum(source, 1)][:, None]
    unheard = np.repeat(20 * np.eye(3, dtype=np.float32)[2][None, None], 5, axis=0)
    evidence = Evidence(unheard, source=Source(logits, source, 0))
    priors = ExpertPriors(np.full((1, 3), 1 / 3), exact=True)
    for name in ("bbse:kind=hard", "rlls:kind=hard"):
        fitted = adapters.get(name).fit(evidence, np.ones(3, int), priors, 0)  # type: ignore[union-attr]
        assert np.isfinite(fitted.predict(evidence)).all()
        assert fitted.prior.sum() == pytest.approx(1)


def sum_of_norms(matrix: np.ndarray, target: np.ndarray, delta: float, theta: np.ndarray) -> float:
    return float(np.linalg.norm(matrix @ theta - target) + delta * np.linalg.norm(theta))


@given(st.integers(0, 2**32 - 1), st.integers(2, 7), st.floats(1e-4, 1.0), st.floats(0.0, 1.0))
def test_rlls_equals_a_general_solver(seed: int, classes: int, delta: float, blur: float) -> None:
    """SLSQP on the norms themselves, from several starts; the problem is convex, so the best of them is the answer."""
    rng = np.random.default_rng(seed)
    joint = (1 - blur) * np.eye(classes) / classes + blur * rng.dirichlet(np.ones(classes), size=classes).T / classes
    target = joint @ (classes * rng.dirichlet(np.ones(classes))) - joint.sum(1)
    ours = solve(joint, target, delta)
    assert (ours >= -1 - 1e-12).all()
    cost = sum_of_norms(joint, target, delta, ours)
    for start in (ours, np.full(classes, 1e-3), rng.uniform(-1, 1, classes)):
        other = minimize(
            lambda theta: sum_of_norms(joint, target, delta, theta),
            start,
            bounds=[(-1, None)] * classes,
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert cost <= sum_of_norms(joint, target, delta, np.maximum(other.x, -1)) + 1e-7
    for _ in range(20):  # nor is there anything better nearby
        near = np.maximum(ours + 1e-3 * rng.normal(size=classes), -1)
        assert cost <= sum_of_norms(joint, target, delta, near) + 1e-12


def test_rlls_regularises_norms_and_not_squares() -> None:
    """With A = I the answer is the target shrunk by nothing (delta < 1) or to nothing (delta > 1), never in between."""
    target = np.array([0.3, -0.2, -0.1])
    np.testing.assert_allclose(solve(np.eye(3), target, 0.9), target, atol=1e-5)
    np.testing.assert_allclose(solve(np.eye(3), target, 1.1), 0, atol=1e-5)
    assert solve(np.eye(3), np.array([-3.0, 0.1, 0.1]), 0.1).min() == pytest.approx(-1)


def test_penalty_by_hand() -> None:
    log = np.log(2 * 10 / 0.05)
    assert penalty(10, 2000) == pytest.approx(0.03 * (2 * log / 6000 + (2 * log / 2000) ** 0.5))


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_predictions_are_distributions(kind: str) -> None:
    evidence, _ = scene(ODD, images=50)
    found = predictions(evidence.logits, kind)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_array_equal(found.argmax(1), evidence.logits.mean(1).argmax(1))
    assert (set(np.unique(found)) == {0, 1}) == (kind == "hard")


def test_map_em_adds_images() -> None:
    """Posteriors that are certain: the estimate is the counts with a - 1 added to each."""
    labels = np.repeat(np.arange(4), [6, 3, 1, 0])
    logits = 60 * np.eye(4, dtype=np.float32)[labels][:, None]
    priors = ExpertPriors(np.full((1, 4), 0.25), exact=True)
    for name, added in (("map_em", 1), ("map_em:a=4", 3), ("map_em:a=1", 0)):
        prior = adapters.get(name).fit(Evidence(logits), np.ones(4, int), priors, 0).prior  # type: ignore[union-attr]
        np.testing.assert_allclose(prior, normalise(np.array([6, 3, 1, 0]) + added), atol=1e-6)
    np.testing.assert_array_equal(
        fit("map_em:a=1", scene(ODD, images=200)[0]).prior, fit("em", scene(ODD, images=200)[0]).prior
    )


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.sampled_from(ESTIMATORS))
def test_estimates_are_priors_for_any_evidence(seed: int, images: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    known = np.arange(40) % CLASSES
    scale = rng.choice([0.1, 3, 50])
    logits, source = (scale * rng.normal(size=(size, 2, CLASSES)).astype(np.float32) for size in (images, 40))
    evidence = Evidence(logits, source=Source(source, known, 0))
    found = fit(name, evidence)
    assert (found.prior >= 0).all()
    assert found.prior.sum() == pytest.approx(1)
    assert np.isfinite(found.predict(evidence)).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_image_is_enough(name: str) -> None:
    evidence, _ = scene(ODD, images=1)
    assert fit(name, evidence).predict(evidence).shape == (1, CLASSES)


@pytest.mark.parametrize("name", [*ESTIMATORS, "calibrated", "stream_em", "stream_em_bcts", "stream_history"])
def test_what_is_not_finite_is_refused_by_image(name: str) -> None:
    evidence, _ = scene(ODD, images=30)
    evidence.logits[17, 1, 2] = np.nan
    with pytest.raises(ValueError, match=r"^logits of image 17"):
        fit(name, evidence)
    if "source" in adapters.get(name).reads:
        evidence, _ = scene(ODD, images=30)
        assert evidence.source is not None
        evidence.source.logits[23, 0, 0] = np.inf
        with pytest.raises(ValueError, match="source logits of image 23"):
            fit(name, evidence)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "map_em"])
def test_without_a_source_or_a_class_in_it_they_do_not_apply(name: str) -> None:
    evidence, _ = scene(ODD, images=10)
    adapter = adapters.get(name)
    assert adapter.missing(replace(evidence, source=None)) == "the evidence has no source"
    assert evidence.source is not None
    labels = np.where(evidence.source.labels == 3, 4, evidence.source.labels)
    partly = replace(evidence, source=replace(evidence.source, labels=labels))
    assert adapter.missing(partly) == "its source has no image of class 3"
    with pytest.raises(ValueError, match="no image of class 3"):
        fit(name, partly)
    assert adapter.access == ("estimated", "source", "transductive")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("bbse:kind=firm", "hard"),
        ("rlls:kind=firm", "soft"),
        ("eb_em:rule=one_se", "two_se"),
        ("map_em:a=0.5", "a must"),
    ],
)
def test_options_are_checked(text: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        adapters.get(text)
    if "map" not in text:
        name, _, option = text.partition(":")
        with pytest.raises(ValueError, match=hint):
            type(adapters.get(name))(**dict([option.split("=")]))  # type: ignore[arg-type]


def test_the_family_is_fitted_to_the_maximum_of_its_likelihood() -> None:
    for exponent in (-1.2, -0.43, 0.0, 0.77):
        evidence, _ = scene(power(COUNTS, exponent), images=3000)
        assert evidence.source is not None
        calibration = calibrated(evidence.source)
        ratios = softmax(calibration.apply(evidence.logits.mean(1)), axis=1) / calibration.prior
        found = best_exponent(family_log_likelihoods(ratios, COUNTS).sum(0))
        sharp = minimize_scalar(
            lambda a, ratios=ratios: -np.log(ratios @ power(COUNTS, a)).sum(), bounds=(-1.6, 1.6), method="bounded"
        )
        assert found == pytest.approx(sharp.x, abs=2e-3)
        assert found == pytest.approx(exponent, abs=0.1)
    assert best_exponent(EXPONENTS) == 1.6
    assert best_exponent(-EXPONENTS) == -1.6


def test_eb_em_keeps_to_the_family_where_it_is_right_and_leaves_it_where_it_is_wrong() -> None:
    gaps = {"eb_em": 0.0, "em_bcts": 0.0}
    for seed in range(5):
        near, far = scene(BACKWARD, images=200, seed=seed)[0], scene(ODD, images=600, seed=seed)[0]
        close, apart = fit("eb_em", near), fit("eb_em", far)
        gaps["eb_em"] += total_variation(close.prior, BACKWARD)
        gaps["em_bcts"] += total_variation(fit("em_bcts", near).prior, BACKWARD)
        family = [power(COUNTS, exponent) for exponent in EXPONENTS]
        to_family = [min(total_variation(found.prior, member) for member in family) for found in (close, apart)]
        assert to_family[0] < 0.03 < 0.1 < to_family[1]
        assert total_variation(apart.prior, ODD) < min(total_variation(member, ODD) for member in family) / 2
    assert gaps["eb_em"] < gaps["em_bcts"]


def test_held_out_likelihoods_by_hand() -> None:
    """Each fold under a prior fitted to the others, one at a time."""
    evidence, _ = scene(ODD, images=120)
    assert evidence.source is not None
    calibration = calibrated(evidence.source)
    ratios = calibration.ratios(evidence)
    folds = np.arange(120) % 4
    found = held_out(ratios, COUNTS, family_log_likelihoods(ratios, COUNTS), folds)
    kept = folds != 2
    exponent = best_exponent(family_log_likelihoods(ratios[kept], COUNTS).sum(0))
    centre = power(COUNTS, exponent)
    for number, kappa in enumerate(KAPPAS):
        prior = likeliest_prior(ratios[kept], centre, added=kappa * kept.sum() * centre)
        expected = np.log(ratios[~kept] @ prior)
        np.testing.assert_allclose(found[~kept, number], expected, atol=1e-2, err_msg=str(kappa))


def test_the_rules_choose() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(400, 1))
    gaps = np.array([0.5, 0.2, 0.0, 0.001, 0.01, 0.3, 0.5, 0.6, 0.7])
    noise = np.r_[np.zeros(400 // 2), np.ones(400 // 2)][:, None] - 0.5
    likelihoods = base - gaps + 0.2 * noise * np.arange(-2, 7)
    # Standard errors of the difference grow by 0.005 a step: at .1, twice it is 0.02 > 0.01, at .3 0.03 < 0.3.
    assert choose(likelihoods, "best") == KAPPAS[2]
    assert choose(likelihoods, "two_se") == KAPPAS[4]


def test_eb_em_is_the_same_for_the_same_seed() -> None:
    evidence, _ = scene(ODD, images=100)
    np.testing.assert_array_equal(fit("eb_em", evidence, seed=3).prior, fit("eb_em", evidence, seed=3).prior)
    assert EbEm().rule == "two_se"


def test_eb_em_recal_by_hand() -> None:
    """Two rounds of eb_em, the second on a source in which class c weighs (q_c + s_c) / 2 s_c."""
    evidence, realised = scene(ODD, images=400, temperature=1.7)
    first, found = fit("eb_em", evidence, seed=4), fit("eb_em_recal", evidence, seed=4)
    source = evidence.source
    assert source is not None
    mixed = (first.prior + 1 / CLASSES) / 2
    second = recalibrated(source, calibrated(source), mixed)
    scores, weights = source.logits.mean(1, dtype=float), mixed[source.labels]

    def cost(slope: float, bias: np.ndarray) -> float:
        own = log_softmax(slope * scores + bias, axis=1)[np.arange(len(scores)), source.labels]
        return float(-(weights * own).sum() / weights.sum())

    rng, best = np.random.default_rng(0), cost(second.slope, second.bias)
    for _ in range(30):
        assert cost(second.slope + 0.01 * rng.normal(), second.bias + 0.05 * rng.normal(size=CLASSES)) > best
    np.testing.assert_allclose(second.prior, mixed)
    estimate = EbEm().estimate(evidence, second, COUNTS, 4)
    np.testing.assert_array_equal(found.prior, estimate)
    expected = second.apply(evidence.logits.mean(1)) + np.log(np.maximum(found.prior, 1e-12)) - np.log(mixed)
    np.testing.assert_allclose(log_softmax(found.predict(evidence), 1), log_softmax(expected, 1), atol=1e-3)
    assert total_variation(found.prior, realised) < 0.06


def test_recalibration_helps_where_one_temperature_is_not_enough() -> None:
    """Answers for every other class are three times too sure: one slope cannot be right for all."""
    gaps = np.zeros(2)
    for seed in range(5):
        evidence, realised = scene(ODD, images=1500, seed=seed)
        assert evidence.source is not None

        def bent(logits: np.ndarray) -> np.ndarray:
            sure = np.where(logits.mean(axis=1).argmax(axis=1) % 2 == 0, 3, 1)
            return (logits * sure[:, None, None]).astype(np.float32)

        evidence = Evidence(bent(evidence.logits), source=replace(evidence.source, logits=bent(evidence.source.logits)))
        gaps += [total_variation(fit(name, evidence).prior, realised) for name in ("eb_em", "eb_em_recal")]
    assert gaps[1] < gaps[0]


def test_the_control_uses_the_source_and_no_test_image() -> None:
    evidence, _ = scene(ODD, images=300, temperature=2.0)
    found = fit("calibrated", evidence)
    assert evidence.source is not None
    expected = calibrated(evidence.source).apply(evidence.logits.mean(1))
    np.testing.assert_allclose(found.predict(evidence), expected, atol=1e-4)
    assert found.prior is None
    alone = evidence.take(np.arange(1))
    np.testing.assert_allclose(fit("calibrated", alone).predict(alone), found.predict(evidence)[:1], atol=1e-5)
    adapter = adapters.get("calibrated")
    assert adapter.access == ("none", "source", "inductive")
    assert adapter.missing(replace(evidence, source=None)) == "the evidence has no source"
