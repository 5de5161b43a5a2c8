"""Estimators of the test prior from other papers, against slow readings of their equations and known priors."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal

from harness import adapters
from harness.adapters.cm_ml import likeliest_mixture
from harness.adapters.elsa import efficient_ratios
from harness.adapters.kdey_ml import densities
from harness.adapters.mapls import pulled, share
from harness.adapters.parts.confusion import Confusion, confusion, frequencies
from harness.adapters.roid_prior import smoothed
from harness.evidence.arrays import Evidence, Source
from methods.core.priors import ExpertPriors, normalise, target_prior
from shifts.common.errors import BadInput
from shifts.labels.distance import total_variation
from tests.harness.adapters.test_prior_estimators import BACKWARD, CLASSES, COUNTS, ODD, PRIORS, fit, scene

WHOLE_SET = ["mapls", "mapls:reference=counts", "roid_prior", "cm_ml", "cm_ml:kind=hard", "cm_map", "elsa", "kdey_ml"]


def alike(classes: int, experts: int = 1) -> ExpertPriors:
    return ExpertPriors(np.full((experts, classes), 1 / classes), exact=True)


def certain(labels: np.ndarray, classes: int, source: int = 20) -> Evidence:
    """An expert that is sure and right, of test and source images."""
    known = np.arange(source * classes) % classes
    images, held = (60 * np.eye(classes, dtype=np.float32)[one][:, None] for one in (labels, known))
    return Evidence(images, source=Source(held, known, 0))


def fitted(name: str, evidence: Evidence, priors: ExpertPriors | None = None) -> Any:
    _, experts, classes = evidence.logits.shape
    counts = np.arange(classes, 0, -1)
    return adapters.get(name).fit(evidence, counts, priors or alike(classes, experts), 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["cm_ml", "cm_ml:kind=hard", "elsa", "kdey_ml", "cm_map:a=1"])
def test_separable_images_are_counted(name: str) -> None:
    labels = np.repeat(np.arange(5), [40, 30, 20, 10, 0])
    np.testing.assert_allclose(fitted(name, certain(labels, 5)).prior, [0.4, 0.3, 0.2, 0.1, 0], atol=1e-4)


def test_cm_map_adds_images_to_what_is_counted() -> None:
    labels = np.repeat(np.arange(5), [40, 30, 20, 10, 0])
    expected = normalise(np.array([42, 32, 22, 12, 2]))
    np.testing.assert_allclose(fitted("cm_map", certain(labels, 5)).prior, expected, atol=1e-5)


@pytest.mark.parametrize("name", WHOLE_SET)
@pytest.mark.parametrize("images", [1, 50])
def test_a_thousand_classes_one_image_and_empty_classes_give_numbers(name: str, images: int) -> None:
    classes = 1000
    rng = np.random.default_rng(1)
    labels, known = rng.integers(30, size=images), np.arange(2 * classes) % classes
    logits, source = (
        (rng.normal(size=(len(one), 2, classes)) + 9 * np.eye(classes)[one][:, None]).astype(np.float32)
        for one in (labels, known)
    )
    evidence = Evidence(logits, source=Source(source, known, 0))
    found = fitted(name, evidence)
    assert found.prior.sum() == pytest.approx(1)
    assert (found.prior >= 0).all()
    assert np.isfinite(found.predict(evidence)).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from(WHOLE_SET), st.permutations(range(CLASSES)))
def test_classes_have_no_order(seed: int, name: str, order: list[int]) -> None:
    evidence, _ = scene(ODD, images=150, seed=seed)
    source = evidence.source
    assert source is not None
    turned = replace(
        evidence,
        logits=evidence.logits[..., order],
        source=Source(source.logits[..., order], np.argsort(order)[source.labels], 0),
    )
    priors = ExpertPriors(PRIORS.values[:, order], exact=True)
    adapter = adapters.get(name)
    here = adapter.fit(evidence, COUNTS, PRIORS, 0).prior  # type: ignore[union-attr]
    there = adapter.fit(turned, COUNTS[order], priors, 0).prior  # type: ignore[union-attr]
    np.testing.assert_allclose(there, here[order], atol=2e-4)


def mapls_by_hand(posteriors: np.ndarray, held: np.ndarray) -> np.ndarray:
    """As a reader of the paper would write it."""

    def divergence(left: np.ndarray, right: np.ndarray) -> float:
        return float((left * np.log(left / (right + 1e-8))).sum())

    def steps(kept: float) -> np.ndarray:
        prior = held.copy()
        for _ in range(100):
            joint = posteriors * prior / held
            prior = kept * (joint / joint.sum(1, keepdims=True)).mean(0) + (1 - kept) / len(held)
        return prior

    uniform, first = np.full(len(held), 1 / len(held)), steps(1.0)
    to_uniform, to_source = divergence(first, uniform), divergence(first, held)
    spread = divergence(held, uniform)
    kept = 0.9 * 4 * to_uniform / (spread + 4 * to_uniform) + 0.1 * spread / (spread + 4 * to_source)
    return steps(kept)


@pytest.mark.parametrize("reference", ["target", "counts"])
def test_mapls_by_hand(reference: str) -> None:
    evidence, _ = scene(ODD, images=300)
    found = fit(f"mapls:reference={reference}", evidence)
    held = target_prior(PRIORS) if reference == "target" else normalise(COUNTS)
    expected = mapls_by_hand(softmax(evidence.logits.mean(1, dtype=float), 1), held)
    np.testing.assert_allclose(found.prior, expected, atol=1e-5)
    answers = evidence.logits.mean(1) + np.log(found.prior) - np.log(held)
    np.testing.assert_allclose(found.predict(evidence), answers, atol=1e-4)


def test_mapls_of_a_uniform_reference_keeps_nine_tenths() -> None:
    """0 / 0 in the published formula where the images are not shifted either."""
    uniform = np.full(4, 0.25)
    assert share(uniform, uniform) == 0.9
    assert share(np.array([1.0, 0, 0, 0]), uniform) == 0.9
    labels = np.repeat(np.arange(4), [7, 3, 0, 0])
    expected = 0.9 * np.array([0.7, 0.3, 0, 0]) + 0.025
    np.testing.assert_allclose(fitted("mapls", certain(labels, 4)).prior, expected, atol=1e-6)


def test_mapls_pulls_as_much_of_many_images_as_of_few() -> None:
    labels = np.repeat(np.arange(4), [7, 3, 0, 0])
    few, many = (fitted("mapls", certain(np.tile(labels, times), 4)).prior for times in (1, 50))
    np.testing.assert_allclose(many, few, atol=1e-9)
    alone = fitted("map_em", certain(np.tile(labels, 50), 4)).prior
    assert alone[3] < many[3] / 5


def test_a_hundred_steps_of_mapls_and_no_more() -> None:
    """Two classes that are hard to tell apart: EM is not yet where it goes."""
    ratios = np.tile(np.array([[1.01, 0.99], [0.995, 1.005]]), (50, 1))
    start = np.array([0.5, 0.5])
    prior = start
    for _ in range(100):
        prior = prior * (ratios / (ratios @ prior)[:, None]).mean(0)
    np.testing.assert_allclose(pulled(ratios, start, 1.0), prior, atol=1e-9)
    assert 0.501 < prior[0] < 0.7


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("added", [0.0, 0.01])
def test_cm_is_where_multiplicative_updates_end(kind: str, added: float) -> None:
    evidence, _ = scene(ODD, images=200)
    assert evidence.source is not None
    source = confusion(evidence.source, kind)  # type: ignore[arg-type]
    found = frequencies(evidence.logits, kind)  # type: ignore[arg-type]
    means, prior = source.joint / source.prior, source.prior
    for _ in range(5000):
        prior = normalise(prior * ((found / (means @ prior)) @ means) + added)
    np.testing.assert_allclose(likeliest_mixture(source, found, added), prior, atol=1e-4)


def test_cm_stays_a_prior_where_bbse_does_not() -> None:
    """What is seen needs a negative share of the second class; the likeliest prior has none of it."""
    source = Confusion(np.array([[0.25, 0.2], [0.25, 0.3]]), np.array([0.5, 0.5]), 100)
    found = np.array([0.6, 0.4])
    assert source.ratios(found)[1] < 0
    np.testing.assert_allclose(likeliest_mixture(source, found), [1, 0], atol=1e-9)


def test_cm_of_predictions_that_no_source_image_gets() -> None:
    source = Confusion(np.array([[0.5, 0.1], [0.0, 0.4], [0.0, 0.0]]), np.array([0.5, 0.5]), 100)
    np.testing.assert_array_equal(likeliest_mixture(source, np.array([0.0, 0, 1])), source.prior)
    without, alone = (likeliest_mixture(source, np.array(seen)) for seen in ([0.6, 0.4, 0], [0.3, 0.2, 0.5]))
    np.testing.assert_allclose(alone, without, atol=1e-6)


def test_elsa_by_hand() -> None:
    evidence, _ = scene(BACKWARD, images=400)
    source = evidence.source
    assert source is not None
    moved = np.log(1 / CLASSES) - np.log(target_prior(PRIORS))
    known, asked = (softmax(one.logits.mean(1, dtype=float) + moved, 1) for one in (source, evidence))
    labels, many, few = np.eye(CLASSES)[source.labels], len(known), len(asked)
    part, ratios, weighed = many / (many + few), np.ones(CLASSES), (known, asked)
    for _ in range(10):
        before = ratios
        ratios = part / (1 - part) * np.linalg.pinv(weighed[0].T @ labels) @ weighed[1].sum(0)
        ratios = np.maximum(ratios, 0)
        if np.abs(ratios - before).max() <= 1e-6:
            break
        weighed = tuple(  # type: ignore[assignment]
            one / ((one * ratios**2).sum(1) / part + (one * ratios).sum(1) / (1 - part))[:, None]
            for one in (known, asked)
        )
    np.testing.assert_allclose(fit("elsa", evidence).prior, normalise(ratios), atol=1e-4)


def test_elsa_of_images_that_nothing_explains_is_finite() -> None:
    known = np.repeat(np.eye(3), 10, axis=0)
    shares, starts = np.full(3, 1 / 3), np.array([0, 10, 20])
    found = efficient_ratios(known, starts, shares, np.repeat(np.eye(3)[:1], 7, axis=0))
    np.testing.assert_allclose(found, [3, 0, 0], atol=1e-6)


def test_kdey_densities_by_scipy() -> None:
    rng = np.random.default_rng(0)
    known, labels = rng.dirichlet(np.ones(4), size=40), rng.integers(3, size=40)
    asked = rng.dirichlet(np.ones(4), size=7)
    found = densities(asked.astype(np.float32), known.astype(np.float32), labels, 4, 0.1)
    centres = [*(known[labels == c] for c in range(3)), np.full((1, 4), 0.25)]
    logs = np.array(
        [
            [logsumexp([multivariate_normal.logpdf(x, p, 0.01) for p in points]) - np.log(len(points)) for x in asked]
            for points in centres
        ]
    ).T
    for one, expected in zip(found.astype(float), logs, strict=True):
        np.testing.assert_allclose(one / one.sum(), softmax(expected), atol=1e-4)
    assert found[:, 3].any(), "a class without an image is a point at the uniform prior"


def test_kdey_of_images_far_from_every_source_image_is_finite() -> None:
    """With this width every kernel is below the smallest number; only their ratios count."""
    known = np.eye(1000, dtype=np.float32)[:900]
    asked = np.full((2, 1000), 1e-3, np.float32)
    found = densities(asked, known, np.arange(900), 1000, 1e-3)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.max(axis=1), 1, rtol=0.2)


@pytest.mark.parametrize("images", [2, 400])
def test_roid_prior_by_hand(images: int) -> None:
    evidence, _ = scene(BACKWARD, images=images)
    mean = softmax(evidence.logits.mean(1, dtype=float), 1).mean(0)
    added = max(1 / images, 1 / CLASSES) / mean.max()
    expected = (mean + added) / (1 + CLASSES * added)
    found = fit("roid_prior", evidence)
    np.testing.assert_allclose(found.prior, expected, atol=1e-6)
    np.testing.assert_allclose(found.predict(evidence), evidence.logits.mean(1) + np.log(expected), atol=1e-4)
    np.testing.assert_allclose(smoothed(np.array([1.0, 0]), 10), [0.75, 0.25])


def test_what_they_know_is_declared() -> None:
    for name in WHOLE_SET:
        adapter = adapters.get(name)
        plain = name.startswith(("mapls", "roid"))
        assert adapter.access == ("estimated", "none" if plain else "source", "transductive")
        assert adapter.reads == (() if plain else ("source",))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("mapls:reference=train", "counts"),
        ("cm_map:a=0.5", "a must"),
        ("cm_ml:kind=x", "hard"),
        ("kdey_ml:width=0", "width"),
    ],
)
def test_options_are_checked(text: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        adapters.get(text)


def test_calibrated_experts_show_a_known_prior() -> None:
    evidence, realised = scene(BACKWARD)
    assert total_variation(fit("mapls", evidence).prior, realised) < 0.15
    assert total_variation(fit("mapls", evidence).prior, realised) < total_variation(target_prior(PRIORS), realised) / 2
