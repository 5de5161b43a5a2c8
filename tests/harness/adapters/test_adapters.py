"""Adapters against slow references: torch for SADE, known priors for EM, plain counts for the oracles."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from harness import adapters
from harness.adapters.em import Em
from harness.adapters.oracle_prior import OraclePrior
from harness.adapters.parts.contract import Adapter, TruthAdapter
from harness.adapters.sade import BATCH, Sade, must_stop
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors, normalise, reverse_by_rank, target_prior
from shifts.common.errors import BadInput
from shifts.labels.distance import total_variation

ALL = ["mean", "sade", "em", "oracle_prior", "best_expert"]


def uniform_priors(experts: int, classes: int) -> ExpertPriors:
    return ExpertPriors(np.full((experts, classes), 1 / classes), exact=True)


def random_evidence(seed: int = 0, images: int = 300, experts: int = 3, classes: int = 6, pairs: int = 2) -> Evidence:
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(images, experts, classes))
    views = logits + rng.normal(size=(pairs, 2, images, experts, classes)) * np.linspace(0.3, 2, experts)[:, None]
    return Evidence(logits.astype(np.float32), views.astype(np.float32))


def fit(
    adapter: Adapter | TruthAdapter,
    evidence: Evidence,
    labels: np.ndarray | None = None,
    seed: int = 0,
    priors: ExpertPriors | None = None,
) -> Any:
    _, experts, classes = evidence.logits.shape
    counts, priors = np.full(classes, 10), priors or uniform_priors(experts, classes)
    if isinstance(adapter, TruthAdapter):
        labels = np.arange(len(evidence.logits)) % classes if labels is None else labels
        return adapter.fit_with_truth(evidence, counts, priors, labels)
    return adapter.fit(evidence, counts, priors, seed)


def sade_by_torch(views: np.ndarray, seed: int, objective: str, epochs: int) -> tuple[np.ndarray, int]:
    """The procedure as a reader of the paper would write it: autograd and torch.optim.SGD."""
    generator = np.random.default_rng(seed)
    pairs, _, images, experts, _ = views.shape
    values = torch.full((experts,), 1 / experts, requires_grad=True)
    optimiser = torch.optim.SGD([values], lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for epoch in range(epochs):
        order = generator.permutation(images)
        for batch in np.split(order, range(BATCH, images, BATCH)):
            first, second = (
                torch.einsum("nec,e->nc", torch.from_numpy(view[batch]), values.softmax(0)).softmax(1)
                for view in views[epoch % pairs]
            )
            agreement = cosine_similarity(first, second) if objective == "cosine" else (first * second).sum(1)
            optimiser.zero_grad()
            (-agreement.mean()).backward()
            optimiser.step()
        weights = values.detach().double().softmax(0).numpy()
        if any(round(float(weight), 2) < 0.05 for weight in weights):
            return weights, epoch + 1
    return weights, epochs


@pytest.mark.parametrize("objective", ["cosine", "inner"])
@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_sade_equals_autograd_and_torch_sgd(objective: str, pairs: int) -> None:
    evidence = random_evidence(images=300, classes=10, pairs=pairs)
    fitted = fit(adapters.get(f"sade:objective={objective}"), evidence, seed=7)
    weights, _ = sade_by_torch(evidence.views, 7, objective, 5)
    np.testing.assert_allclose(fitted.weights, weights, atol=1e-6)
    assert np.abs(weights - 1 / 3).max() > 0.01  # the comparison is about weights that moved


def test_sade_stops_once_a_rounded_weight_is_below_a_twentieth() -> None:
    rng = np.random.default_rng(0)
    views = np.zeros((1, 2, 300, 2, 4), dtype=np.float32)
    views[..., 0, 0] = 9
    views[..., 1, :] = rng.normal(scale=9, size=(1, 2, 300, 4))
    evidence = Evidence(views[0, 0], views)
    fitted = fit(Sade(epochs=40), evidence)
    weights, epochs = sade_by_torch(views, 0, "cosine", 40)
    assert 1 < epochs < 40
    assert np.round(fitted.weights, 2).min() < 0.05
    np.testing.assert_allclose(fitted.weights, weights, atol=1e-5)
    np.testing.assert_array_equal(fit(Sade(epochs=epochs), evidence).weights, fitted.weights)
    one_less = fit(Sade(epochs=epochs - 1), evidence)
    assert np.round(one_less.weights, 2).min() >= 0.05


@pytest.mark.parametrize(("lowest", "stops"), [(0.05, False), (0.0451, False), (0.0449, True), (0.0, True)])
def test_the_stop_looks_at_rounded_weights(lowest: float, stops: bool) -> None:
    assert must_stop(np.array([lowest, 1 - lowest])) is stops


def test_sade_cycles_through_the_pairs() -> None:
    evidence = random_evidence(pairs=2)
    doubled = Evidence(evidence.logits, np.concatenate([evidence.views] * 2))
    np.testing.assert_array_equal(fit(Sade(), evidence).weights, fit(Sade(), doubled).weights)
    other = Evidence(evidence.logits, evidence.views[:1])
    assert not np.array_equal(fit(Sade(), evidence).weights, fit(Sade(), other).weights)
    assert np.array_equal(fit(Sade(epochs=1), evidence).weights, fit(Sade(epochs=1), other).weights)


def test_sade_implies_the_prior_of_its_weights() -> None:
    evidence, rng = random_evidence(), np.random.default_rng(2)
    priors = ExpertPriors(rng.dirichlet(np.ones(6), size=3), exact=True)
    fitted = Sade().fit(evidence, np.ones(6, dtype=int), priors, 0)
    np.testing.assert_allclose(fitted.prior, target_prior(priors, fitted.weights))


def test_what_does_not_apply_says_why() -> None:
    no_views = Evidence(random_evidence().logits)
    assert Sade().missing(no_views) == "the evidence has no views"
    single = random_evidence(experts=1)
    for name in ("sade", "best_expert"):
        adapter = adapters.get(name)
        assert "single expert" in (adapter.missing(single) or "")
        with pytest.raises(ValueError, match="single expert"):
            fit(adapter, single)
    with pytest.raises(ValueError, match="no views"):
        fit(Sade(), no_views)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_by_image(name: str, bad: float) -> None:
    evidence = random_evidence()
    evidence.logits[17, 1, 2] = bad
    with pytest.raises(ValueError, match="image 17"):
        fit(adapters.get(name), evidence)


def test_views_that_are_not_finite_are_refused_by_image() -> None:
    evidence = random_evidence()
    assert evidence.views is not None
    evidence.views[1, 0, 23, 0, 0] = np.nan
    with pytest.raises(ValueError, match="image 23"):
        fit(Sade(), evidence)


@pytest.mark.parametrize("name", ["em", "sade", "oracle_prior"])
def test_priors_of_another_model_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="do not belong"):
        fit(adapters.get(name), random_evidence(), priors=uniform_priors(2, 6))


@pytest.mark.parametrize("name", ["mean", "em", "oracle_prior"])
def test_the_smallest_evidence_works(name: str) -> None:
    evidence = random_evidence(images=1, experts=1, classes=2)
    assert fit(adapters.get(name), evidence).predict(evidence).shape == (1, 2)


def likelihood_logits(labels: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """log p(x | c) of images from known Gaussians: a Bayes-optimal expert before its prior."""
    centres = 2.0 * np.linalg.qr(rng.normal(size=(classes, classes)))[0]
    images = centres[labels] + rng.normal(size=(len(labels), classes))
    return images @ centres.T - (centres**2).sum(1) / 2


@pytest.mark.parametrize("exponent", [1, 0, -1], ids=["forward", "uniform", "backward"])
def test_em_recovers_the_prior_from_skill_diverse_experts(exponent: int) -> None:
    rng, classes = np.random.default_rng(3), 20
    train = normalise(100 ** (-np.arange(classes) / (classes - 1)))
    true = normalise(train**exponent)
    labels = rng.choice(classes, size=20_000, p=true)
    values = np.stack([train, np.full(classes, 1 / classes), normalise(reverse_by_rank(train) ** 2)])
    logits = likelihood_logits(labels, classes, rng)[:, None] + np.log(values)
    evidence = Evidence(logits.astype(np.float32))
    realised = normalise(np.bincount(labels, minlength=classes))
    fitted = Em().fit(evidence, np.ones(classes, int), ExpertPriors(values, True), 0)
    assert total_variation(fitted.prior, realised) < 0.03
    wrong = Em().fit(evidence, np.ones(classes, int), uniform_priors(3, classes), 0)
    assert total_variation(wrong.prior, realised) > 0.1
    right, astray = ((one.predict(evidence).argmax(1) == labels).mean() for one in (fitted, wrong))
    assert right > astray


def test_em_prediction_is_the_corrected_mean() -> None:
    evidence, rng = random_evidence(), np.random.default_rng(6)
    priors = ExpertPriors(rng.dirichlet(np.ones(6), size=3), exact=True)
    fitted = Em().fit(evidence, np.ones(6, int), priors, 0)
    expected = evidence.logits.mean(1) + np.log(np.maximum(fitted.prior, 1e-12)) - np.log(target_prior(priors))
    np.testing.assert_allclose(fitted.predict(evidence), expected, atol=1e-4)


def test_oracle_prior_knows_counts_and_no_label_of_an_image() -> None:
    evidence, rng = random_evidence(), np.random.default_rng(0)
    labels = rng.choice(6, size=300, p=normalise([8, 4, 2, 1, 1, 0]))
    fitted = fit(OraclePrior(), evidence, labels)
    again = fit(OraclePrior(), evidence, rng.permutation(labels))
    np.testing.assert_array_equal(fitted.predict(evidence), again.predict(evidence))
    np.testing.assert_allclose(fitted.prior, np.bincount(labels, minlength=6) / 300)
    expected = evidence.logits.mean(1) + np.log(np.maximum(fitted.prior, 1e-12)) - np.log(1 / 6)
    np.testing.assert_allclose(fitted.predict(evidence), expected, atol=1e-4)
    assert not (fitted.predict(evidence).argmax(1) == 5).any()


def test_best_expert_is_the_most_accurate_and_ties_go_to_the_lower_index() -> None:
    labels = np.arange(60) % 3
    right = 5 * np.eye(3, dtype=np.float32)[labels]
    wrong = np.roll(right, 1, axis=1)
    best = fit(adapters.get("best_expert"), Evidence(np.stack([wrong, right, wrong], 1)), labels)
    assert best.weights.tolist() == [0, 1, 0]
    tied = fit(adapters.get("best_expert"), Evidence(np.stack([wrong, right, right], 1)), labels)
    assert tied.weights.tolist() == [0, 1, 0]


@pytest.mark.parametrize("labels", [np.zeros(299, int), np.full(300, 6), np.full(300, -1), np.zeros(300)])
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray) -> None:
    for name in ("oracle_prior", "best_expert"):
        with pytest.raises(ValueError, match="labels must"):
            fit(adapters.get(name), random_evidence(), labels)


def test_adapters_are_found_by_name_with_options() -> None:
    assert {name for name, _ in adapters.names()} >= set(ALL)
    assert all(line.endswith(".") for _, line in adapters.names())
    assert adapters.get("sade:objective=inner,epochs=2") == Sade(objective="inner", epochs=2)
    for text, hint in [
        ("sabe", "sade"),
        ("sade:objective=l2", "cosine"),
        ("sade:epochs=0", "at least 1"),
        ("em:a=2", "no options"),
    ]:
        with pytest.raises(BadInput, match=hint):
            adapters.get(text)


def test_access_is_declared() -> None:
    declared = {name: adapters.get(name) for name in ALL}
    assert {name: adapter.access for name, adapter in declared.items()} == {
        "mean": ("none", "none", "inductive"),
        "sade": ("none", "none", "transductive"),
        "em": ("estimated", "none", "transductive"),
        "oracle_prior": ("oracle", "none", "inductive"),
        "best_expert": ("none", "test", "transductive"),
    }
    assert [name for name, a in declared.items() if isinstance(a, TruthAdapter)] == [
        "oracle_prior",
        "best_expert",
    ]


def test_listing_adapters_imports_neither_torch_nor_scipy() -> None:
    code = "import sys; from harness import adapters as a; a.names(); print({'torch', 'scipy'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
