"""Streams of other papers against loops that a reader would write, upper references, and the orders of arrival."""

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from scipy.special import softmax

from harness import adapters
from harness.adapters.parts.batches import batch_estimator
from harness.adapters.parts.calibration import calibrated
from harness.adapters.parts.contract import TruthAdapter
from harness.adapters.parts.streams import Order
from harness.adapters.stream_rogd import ExpectedError, onto_simplex
from harness.evidence.arrays import Evidence, Source
from harness.protocol.arrival import arrival, mixture
from harness.protocol.draws import Draw
from harness.protocol.measure import adapt, declared
from methods.core.options import canonical_name
from methods.core.priors import ExpertPriors, normalise, target_prior
from shifts.labels.draw import draw
from tests.harness.small import random_pool

CLASSES = 5


def evidence_of(images: int = 150, seed: int = 0) -> tuple[Evidence, ExpertPriors]:
    rng = np.random.default_rng(seed)
    labels, known = rng.integers(CLASSES, size=images), np.arange(30 * CLASSES) % CLASSES
    logits, source = (
        rng.normal(scale=2, size=(len(one), 3, CLASSES)) + 2 * np.eye(CLASSES)[one][:, None] for one in (labels, known)
    )
    return (
        Evidence(logits.astype(np.float32), source=Source(source.astype(np.float32), known, 0)),
        ExpertPriors(rng.dirichlet(np.full(CLASSES, 3.0), size=3), exact=True),
    )


def fit(name: str, evidence: Evidence, priors: ExpertPriors) -> Any:
    return adapters.get(name).fit(evidence, np.ones(CLASSES, int), priors, 0)  # type: ignore[union-attr]


def estimates_by_hand(evidence: Evidence, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated logits, and the estimate of each batch."""
    assert evidence.source is not None
    calibration = calibrated(evidence.source)
    known, logits = (calibration.apply(one.logits.mean(1, dtype=float)) for one in (evidence.source, evidence))
    joint = softmax(known, 1).T @ np.eye(CLASSES)[evidence.source.labels] / len(known)
    found = []
    for start in range(0, len(logits), batch):
        mean = softmax(logits[start : start + batch], 1).mean(0)
        weights = np.linalg.solve(joint.T @ joint + 1e-8 * np.eye(CLASSES), joint.T @ mean)
        found.append(normalise(np.maximum(weights, 0) * calibration.prior))
    return logits, np.array(found)


@pytest.mark.parametrize("first", ["answer", "adapt"])
def test_flh_ftl_by_hand(first: str) -> None:
    """Candidate j begins at batch j and is the mean of all since."""
    evidence, priors = evidence_of()
    fitted = fit(f"stream_flh_ftl:batch=20,first={first}", evidence, priors)
    logits, estimates = estimates_by_hand(evidence, 20)
    answers, mixed, shares = fitted.predict(evidence), [np.full(CLASSES, 0.2)], np.array([])
    for batch, estimate in enumerate(estimates):
        candidates = np.array([estimates[begin:batch].mean(0) for begin in range(batch)]).reshape(batch, CLASSES)
        shares = shares * np.exp(-((candidates - estimate) ** 2).sum(1) / CLASSES)
        shares = np.append(shares / max(shares.sum(), 1e-300) * batch / (batch + 1), 1 / (batch + 1))
        assert shares.sum() == pytest.approx(1)
        candidates = np.array([estimates[begin : batch + 1].mean(0) for begin in range(batch + 1)])
        mixed.append(shares @ candidates)
    for batch in range(len(estimates)):
        part = slice(20 * batch, 20 * (batch + 1))
        prior = mixed[batch + (first == "adapt")]
        expected = logits[part] + np.log(np.maximum(prior, 1e-12)) - np.log(0.2)
        np.testing.assert_allclose(softmax(answers[part], 1), softmax(expected, 1), atol=1e-4)
    np.testing.assert_allclose(fitted.prior, mixed[-1], atol=1e-5)


def test_flh_ftl_remembers_as_many_as_it_may() -> None:
    evidence, priors = evidence_of(400)
    few, all_of_them = (fit(f"stream_flh_ftl:batch=10,most={most}", evidence, priors) for most in (3, 40))
    np.testing.assert_allclose(few.bias_at[:4], all_of_them.bias_at[:4], rtol=1e-9)
    assert np.abs(few.bias_at[5:] - all_of_them.bias_at[5:]).max() > 1e-3
    np.testing.assert_allclose(few.prior, all_of_them.prior, atol=0.1)


def expected_error(evidence: Evidence) -> tuple[ExpectedError, np.ndarray]:
    assert evidence.source is not None
    estimator = batch_estimator(evidence.source)
    prior = estimator.calibration.prior
    return ExpectedError(estimator.known / prior, estimator.labels), prior


@given(st.integers(0, 2**32 - 1))
def test_the_gradient_of_the_expected_error_is_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    error, _ = expected_error(evidence_of()[0])
    prior, wanted = rng.dirichlet(np.full(CLASSES, 3.0)), rng.dirichlet(np.ones(CLASSES))
    numeric = approx_fprime(prior, lambda p: error.value(p, wanted), 1e-7)
    np.testing.assert_allclose(error.gradient(prior, wanted), numeric, atol=1e-4)
    by_class = [np.linalg.norm(error.gradient(prior, one)) for one in np.eye(CLASSES)]
    assert error.steepest(prior) == pytest.approx(max(by_class))


def test_the_expected_error_is_that_of_a_class_drawn_from_the_posterior() -> None:
    evidence, _ = evidence_of()
    error, held = expected_error(evidence)
    assert evidence.source is not None
    labels = evidence.source.labels
    posteriors = error.ratios * held
    right = posteriors[np.arange(len(labels)), labels]
    expected = 1 - np.mean([right[labels == c].mean() for c in range(CLASSES)])
    assert error.value(held, np.full(CLASSES, 0.2)) == pytest.approx(expected)


@pytest.mark.parametrize("first", ["answer", "adapt"])
def test_rogd_by_hand(first: str) -> None:
    evidence, priors = evidence_of()
    fitted = fit(f"stream_rogd:batch=20,horizon=50,first={first}", evidence, priors)
    logits, estimates = estimates_by_hand(evidence, 20)
    error, held = expected_error(evidence)
    step = np.sqrt(2 / 50) / max(np.linalg.norm(error.gradient(held, one)) for one in np.eye(CLASSES))
    prior, answers = held, fitted.predict(evidence)
    for batch, estimate in enumerate(estimates):
        part = slice(20 * batch, 20 * (batch + 1))
        after = onto_simplex(prior - step * error.gradient(prior, estimate))
        shown = after if first == "adapt" else prior
        expected = logits[part] + np.log(np.maximum(shown, 1e-12)) - np.log(held)
        np.testing.assert_allclose(softmax(answers[part], 1), softmax(expected, 1), atol=1e-3)
        prior = after
    np.testing.assert_allclose(fitted.prior, prior, atol=1e-4)
    assert np.abs(fitted.prior - held).max() > 0.01


@given(st.lists(st.floats(-1e13, 1e13), min_size=1, max_size=6))
def test_the_nearest_point_of_the_simplex(values: list[float]) -> None:
    point = np.array(values)
    found = onto_simplex(point)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1, abs=1e-2)
    assert found[point.argmax()] == found.max()
    np.testing.assert_allclose(onto_simplex(np.array([0.2, 0.3, 0.5])), [0.2, 0.3, 0.5], atol=1e-12)
    np.testing.assert_allclose(onto_simplex(np.array([1.2, 0.8, -3.0])), [0.7, 0.3, 0], atol=1e-12)


def test_the_oracle_knows_each_batch_and_hindsight_the_best_of_all() -> None:
    evidence, priors = evidence_of(200)
    labels = np.repeat(np.arange(4), 50)
    answered, logits = target_prior(priors), evidence.logits.mean(1, dtype=float)
    oracle, hindsight = adapters.get("stream_oracle:batch=50"), adapters.get("stream_hindsight")
    assert isinstance(oracle, TruthAdapter)
    assert isinstance(hindsight, TruthAdapter)
    told = oracle.fit_with_truth(evidence, np.ones(CLASSES, int), priors, labels)
    np.testing.assert_array_equal(told.predict(evidence).argmax(1), labels)
    best = hindsight.fit_with_truth(evidence, np.ones(CLASSES, int), priors, labels)
    assert best.prior is not None
    assert best.prior[4] == 0

    def nll(bias: np.ndarray) -> float:
        shown = logits[:, :4] - np.log(answered[:4]) + bias
        return float((np.log(np.exp(shown).sum(1)) - shown[np.arange(200), labels]).mean())

    lowest = minimize(nll, np.zeros(4), method="BFGS").fun
    assert nll(np.log(best.prior[:4])) == pytest.approx(lowest, abs=1e-5)


@pytest.mark.parametrize("name", ["stream_oracle", "stream_hindsight"])
def test_what_knows_the_truth_of_a_stream_says_so(name: str) -> None:
    adapter = adapters.get(name)
    assert adapter.access.is_upper
    assert isinstance(adapter, TruthAdapter)
    evidence, priors = evidence_of(20)
    for labels in (np.zeros(19, int), np.full(20, CLASSES)):
        with pytest.raises(ValueError, match="labels must"):
            adapter.fit_with_truth(evidence, np.ones(CLASSES, int), priors, labels)


def test_the_oracle_of_a_moving_stream_is_told_that_stream() -> None:
    pool = random_pool(images=400, signal=1)
    on = Draw(0, draw(pool.labels, np.array([70, 60, 50, 40, 30])))
    orders = ("shuffled", "class_correlated")
    still, moving = (adapt(adapters.get(f"stream_oracle:batch=25,order={order}"), pool, on) for order in orders)
    assert moving.accuracy.top1 > still.accuracy.top1
    assert declared(adapters.get("stream_oracle:order=square"), pool.evidence, pool.expert_priors)["adapter"] == (
        "stream_oracle:order=square"
    )


def test_defaults_keep_their_names() -> None:
    """What a row is called depends on options that are not the default."""
    for name in ("stream_sade:first=adapt", "stream_em:first=adapt,order=shuffled", "stream_history:first=answer"):
        assert canonical_name(adapters.get(name)) == name.partition(":")[0]
    assert canonical_name(adapters.get("stream_em:first=answer")) == "stream_em:first=answer"


LABELS = np.repeat(np.arange(CLASSES), [3000, 3000, 3000, 3000, 3001])
TRAIN = np.array([300, 100, 30, 10, 3])
MOVING = [order for order in get_args(Order) if order != "shuffled"]


@given(
    st.sampled_from(get_args(Order)),
    st.lists(st.integers(0, 40), min_size=3, max_size=6).filter(any),
    st.integers(1, 50),
    st.integers(0, 99),
)
def test_every_order_has_every_image_once(order: Order, images: list[int], batch: int, seed: int) -> None:
    labels, train = np.repeat(np.arange(len(images)), images), np.arange(len(images), 0, -1)
    found = arrival(order, labels, train, seed, batch)
    assert sorted(found) == list(range(len(labels)))
    np.testing.assert_array_equal(found, arrival(order, labels, train, seed, batch))


def odds(order: Order, batch: int = 150) -> np.ndarray:
    """Log ratio of head against tail in each batch."""
    found = arrival(order, LABELS, TRAIN, 1, batch)
    counts = [np.bincount(LABELS[found[at : at + batch]], minlength=CLASSES) for at in range(0, len(found), batch)]
    return np.array([np.log((one[0] + 0.5) / (one[4] + 0.5)) for one in counts])


def test_square_swaps_two_priors_every_root_of_the_batches() -> None:
    ratios = odds("square")  # 101 batches, so ten each
    for part in range(10):
        middle = ratios[10 * part + 1 : 10 * part + 9]
        assert (middle > 1.5).all() if part % 2 == 0 else (middle < -1.5).all()


def test_monotone_goes_one_way_and_sinusoidal_there_and_back() -> None:
    ratios = odds("monotone")
    tenths = [part.mean() for part in np.array_split(ratios, 5)]
    assert (np.diff(tenths) < 0).all()
    assert tenths[0] > 1.5
    assert tenths[-1] < -1.5
    waves = odds("sinusoidal")[:100].reshape(10, 10).mean(axis=0)
    assert waves[[0, 9]].min() > waves[5] + 2


def test_mixtures_by_hand() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(mixture("monotone", 5, rng), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(mixture("square", 9, rng), [0, 0, 0, 1, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(mixture("sinusoidal", 5, rng), [0, 1, 0, 1, 0], atol=1e-12)
    swaps = np.diff(mixture("bernoulli", 10_000, rng))
    assert np.abs(swaps).sum() == pytest.approx(100, abs=40)
    assert set(np.unique(swaps)) == {-1, 0, 1}
    assert all(len(mixture(order, 1, rng)) == 1 for order in ("monotone", "square", "sinusoidal", "bernoulli"))


def test_class_correlated_images_come_a_class_at_a_time() -> None:
    found = LABELS[arrival("class_correlated", LABELS, TRAIN, 0)]
    assert (np.diff(found) != 0).sum() < CLASSES**2
    assert np.bincount(found[:3000], minlength=CLASSES).max() > 1500


@pytest.mark.parametrize("order", MOVING)
def test_another_seed_is_another_order(order: Order) -> None:
    assert not np.array_equal(arrival(order, LABELS, TRAIN, 3), arrival(order, LABELS, TRAIN, 4))
