"""The likeliest prior: where EM goes, optimal by the conditions of Karush, Kuhn and Tucker, in few passes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.adapters.parts import likelihood
from harness.adapters.parts.likelihood import likeliest_prior, mean_log_likelihood
from methods.core.priors import LOG_FLOOR, normalise
from shifts.labels.distance import total_variation

seeds = st.integers(0, 2**32 - 1)


def ratios_of(seed: int, images: int, classes: int, scale: float, reference: np.ndarray) -> np.ndarray:
    powers = np.random.default_rng(seed).normal(scale=scale, size=(images, classes))
    powers = np.exp(powers - powers.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True) / reference


def em(ratios: np.ndarray, prior: np.ndarray, added: float, steps: int) -> np.ndarray:
    """The iteration as it is published."""
    for _ in range(steps):
        joint = ratios * prior
        prior = normalise((joint / joint.sum(1, keepdims=True)).sum(0) + added)
    return prior


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 100), st.integers(2, 8), st.floats(0.1, 30), st.sampled_from([0, 1, 4])
)
def test_it_is_the_maximum(seed: int, images: int, classes: int, scale: float, added: float) -> None:
    """Of a concave function: its slope is the same for every class that has a share, and not higher for any other."""
    rng = np.random.default_rng(seed)
    reference = rng.dirichlet(np.ones(classes)) + 1e-3
    ratios = ratios_of(seed, images, classes, scale, reference)
    prior = likeliest_prior(ratios, reference, added)
    np.testing.assert_allclose(prior.sum(), 1)
    assert (prior > 0).all()
    slope = mean_log_likelihood(ratios, prior)[1] + added / images / prior
    total = 1 + classes * added / images
    assert (slope <= total * (1 + 1e-5) + 1e-5 / prior.clip(1e-3)).all()
    np.testing.assert_allclose(prior * slope, total * prior, atol=1e-5 * total)


@pytest.mark.parametrize(
    ("scale", "added"),
    [
        *((2.0, 0.0), (6.0, 1.0)),
        *(
            pytest.param(*case, marks=pytest.mark.exhaustive)
            for case in ((0.5, 0.0), (0.5, 1.0), (2.0, 1.0), (6.0, 0.0))
        ),
    ],
)
def test_em_goes_there(scale: float, added: float) -> None:
    reference = normalise(np.arange(1, 21))
    ratios = ratios_of(1, 400, 20, scale, reference)
    found, after = likeliest_prior(ratios, reference, added), em(ratios, reference, added, 20_000)
    np.testing.assert_allclose(found, after, atol=1e-6 if added else 1e-5)
    assert mean_log_likelihood(ratios, found)[0] >= mean_log_likelihood(ratios, after)[0] - 1e-9 or added


def test_a_class_without_a_share_is_gone() -> None:
    certain = np.eye(4)[np.repeat([0, 1, 2], [6, 3, 1])]
    np.testing.assert_allclose(likeliest_prior(certain, np.full(4, 0.25)), [0.6, 0.3, 0.1, LOG_FLOOR], rtol=1e-5)


def test_a_known_prior_is_found_from_anywhere() -> None:
    rng = np.random.default_rng(5)
    true = np.array([0.5, 0.25, 0.15, 0.1, 0.0])
    labels = rng.choice(5, size=20_000, p=true)
    centres = 2.0 * np.linalg.qr(rng.normal(size=(5, 5)))[0]
    images = centres[labels] + rng.normal(size=(20_000, 5))
    ratios = np.exp(images @ centres.T - (centres**2).sum(1) / 2)
    found = likeliest_prior(ratios, np.full(5, 0.2))
    assert total_variation(found, true) < 0.02
    assert found[4] < 0.01
    np.testing.assert_allclose(found, likeliest_prior(ratios, rng.dirichlet(np.ones(5))), atol=1e-6)
    gone = np.array([0.0, 1, 1, 1, 1]) / 4
    np.testing.assert_allclose(found, likeliest_prior(ratios, gone), atol=1e-6)


def test_few_passes_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where posteriors tell little, EM needs more than a thousand."""
    reference = np.full(30, 1 / 30)
    ratios = ratios_of(0, 3000, 30, 0.3, reference)
    passes = []
    monkeypatch.setattr(
        likelihood, "mean_log_likelihood", lambda *given: passes.append(0) or mean_log_likelihood(*given)
    )
    found = likeliest_prior(ratios, reference)
    assert len(passes) < 100
    assert np.abs(em(ratios, reference, 0, 1000) - found).max() > 1e-3


@given(seeds, st.integers(1, 3000))
def test_blocks_change_nothing(seed: int, images: int) -> None:
    """Of 500 classes and 524 images to a block."""
    rng = np.random.default_rng(seed)
    ratios, prior = rng.random((images, 500)).astype(np.float32), rng.dirichlet(np.ones(500))
    value, slope = mean_log_likelihood(ratios, prior)
    shares = ratios.astype(float) @ prior
    assert value == pytest.approx(np.log(shares).mean())
    np.testing.assert_allclose(slope, (ratios / shares[:, None]).mean(0), rtol=1e-9)
