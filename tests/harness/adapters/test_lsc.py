"""LSC: its network against autograd, training sets and gate by hand, and sets without an order."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness import adapters
from harness.adapters.lsc import (
    KEPT,
    Lsc,
    Network,
    bounded,
    enough,
    gated,
    largest,
    mean_of_largest,
    trained,
    training_sets,
)
from harness.evidence.arrays import Evidence, Source
from methods.core.priors import ExpertPriors, normalise
from shifts.common.errors import BadInput
from shifts.labels.distance import total_variation

CLASSES = 8
COUNTS = np.array([int(500 * 100 ** (-c / (CLASSES - 1))) for c in range(CLASSES)])
PRIORS = ExpertPriors(np.full((2, CLASSES), 1 / CLASSES), exact=True)


def scene(prior: np.ndarray, images: int = 2000, seed: int = 0) -> tuple[Evidence, np.ndarray]:
    """Two experts that are right more often than not."""
    rng = np.random.default_rng(seed)
    labels, known = rng.choice(CLASSES, size=images, p=prior), np.arange(40 * CLASSES) % CLASSES
    logits, source = (
        (rng.normal(size=(len(one), 2, CLASSES)) + 4 * np.eye(CLASSES)[one][:, None]).astype(np.float32)
        for one in (labels, known)
    )
    return Evidence(logits, source=Source(source, known, 0)), labels


def fit(name: str, evidence: Evidence) -> Any:
    return adapters.get(name).fit(evidence, COUNTS, PRIORS, 0)  # type: ignore[union-attr]


FORWARD, UNIFORM = normalise(COUNTS), np.full(CLASSES, 1 / CLASSES)


@pytest.mark.parametrize("prior", [FORWARD, UNIFORM, FORWARD[::-1]], ids=["forward", "uniform", "backward"])
def test_priors_of_its_family_are_found(prior: np.ndarray) -> None:
    evidence, labels = scene(prior)
    realised = np.bincount(labels, minlength=CLASSES) / len(labels)
    assert total_variation(fit("lsc:gate=none", evidence).prior, realised) < 0.15
    found = fit("lsc", evidence)
    assert total_variation(found.prior, realised) < 0.15
    assert (found.bias is None) == (prior is UNIFORM)


def test_the_gate_gives_a_set_without_an_order_nothing() -> None:
    odd = np.array([1, 9, 1, 9, 9, 1, 9, 1]) / 40
    evidence, _ = scene(odd)
    found = fit("lsc", evidence)
    np.testing.assert_allclose(found.predict(evidence), evidence.logits.mean(1), atol=1e-5)
    assert total_variation(found.prior, odd) > 0.1, "nor is such a prior in what the network has seen"
    assert fit("lsc:gate=none", evidence).bias is not None


@pytest.mark.parametrize("temper", [3, 1])
def test_a_third_of_the_logarithm_is_added(temper: int) -> None:
    evidence, _ = scene(FORWARD)
    found = fit(f"lsc:temper={temper}", evidence)
    expected = evidence.logits.mean(1) + np.log(np.maximum(found.prior, 1e-12)) / temper
    np.testing.assert_allclose(found.predict(evidence), expected, atol=1e-3)
    assert Lsc().temper == 3


def test_the_network_is_that_of_autograd_and_torch_adam() -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(1100, 6)).astype(np.float32)
    shares = generator.dirichlet(np.ones(3), size=1100).astype(np.float32)
    network = Network.random(6, 9, 3, generator)
    model = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.ReLU(), torch.nn.Linear(9, 3))
    with torch.no_grad():
        for parameter, layer in zip(model.parameters(), network.layers, strict=True):
            parameter.copy_(torch.from_numpy(layer.T.copy()))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(100):
        for start in (0, 1024):
            part = slice(start, start + 1024)
            answers = model(torch.from_numpy(inputs[part])).log_softmax(1)
            loss = torch.nn.functional.kl_div(answers, torch.from_numpy(shares[part]), reduction="batchmean")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    network.learn(inputs, shares)
    expected = model(torch.from_numpy(inputs)).softmax(1).detach().numpy()
    np.testing.assert_allclose(network.answers(inputs), expected, atol=1e-3)


def test_training_sets_by_hand() -> None:
    evidence, _ = scene(UNIFORM, images=1)
    source = evidence.source
    assert source is not None
    rank = np.arange(CLASSES)[::-1].copy()
    inputs, shares = training_sets(source, rank, np.random.default_rng(0))
    assert len(inputs) == len(shares) == 2 * 990
    for place, ratio in ((0, 1.0), (2 * 15, 2.5), (2 * 989, 99.9)):
        images = np.array([int(40 * ratio ** (-c / (CLASSES - 1))) for c in range(CLASSES)])
        np.testing.assert_allclose(shares[place], normalise(images)[rank], atol=1e-6)
        np.testing.assert_allclose(shares[place + 1], normalise(images[::-1])[rank], atol=1e-6)
    values = bounded(source.logits)
    kept = enough(values, source.labels)
    masked = np.stack([np.where(largest(values[:, [e]], k), values[:, [e]], 0)[:, 0] for e, k in enumerate(kept)], 1)
    by_class = np.stack([masked[source.labels == c].mean(0) for c in range(CLASSES)]).reshape(CLASSES, -1)
    np.testing.assert_allclose(inputs[:20].mean(0), shares[:20].mean(0) @ by_class, atol=0.1)


def test_the_largest_are_kept_and_the_others_are_zero() -> None:
    logits = np.array([[[3.0, -1, 2, -5]], [[0.0, 4, 1, 2]]], np.float32)
    np.testing.assert_allclose(mean_of_largest(logits, 2), [1.5, 2, 1, 1])
    np.testing.assert_allclose(mean_of_largest(logits, 10), logits.mean((0, 1)))
    assert enough(np.repeat(logits, 5, axis=0), np.array([0] * 5 + [3] * 5)) == [2]
    assert bounded(np.array([[[1e4, 0, -1e9]]], np.float32)).tolist() == [[[1e4, 9900, 9900]]]


def test_the_gate_by_hand() -> None:
    """Of three inputs those count whose sum lies in the head most; backward, one in the tail."""

    class Told(Network):
        def answers(self, inputs: np.ndarray) -> np.ndarray:
            return inputs[:, :10] / inputs[:, :10].sum(axis=1, keepdims=True)

    inputs = np.array([[8.0] * 4 + [1] * 6, [1] * 7 + [9] * 3, [6] * 4 + [2] * 6, [2] * 10])
    order = np.arange(10)
    forward, backward = np.array([0.2] * 4 + [0.04] * 3 + [0.02] * 3), np.array([0.02] * 4 + [0.04] * 3 + [0.3] * 3)
    told = Told([])
    np.testing.assert_allclose(gated(told, inputs, forward, order), normalise(inputs[0] + inputs[2]))
    np.testing.assert_allclose(gated(told, inputs, backward, order), normalise(inputs[1]))
    assert gated(told, inputs, np.full(10, 0.1), order) is None
    assert gated(told, inputs, np.array([0.11] * 4 + [0.16] * 3 + [0.03] * 3), order) is None


def test_masked_classes_and_one_image_give_numbers() -> None:
    evidence, _ = scene(FORWARD, images=1)
    evidence.logits[0, :, 3] = np.finfo(np.float32).min
    found = fit("lsc:gate=none", evidence)
    assert np.isfinite(found.predict(evidence)).all()
    assert found.prior.sum() == pytest.approx(1)


@pytest.mark.filterwarnings("error")
def test_logits_that_are_too_large_to_train_on_are_told() -> None:
    huge = 1e30 * np.random.default_rng(0).normal(size=(8, 1, 2)).astype(np.float32)
    with pytest.raises(ValueError, match="too large to train a network on"):
        trained(Source(huge, np.arange(8) % 2, 0), (0, 1))


def test_it_is_trained_once_for_a_source_and_is_not_in_the_default_run() -> None:
    evidence, _ = scene(UNIFORM, images=10)
    source = evidence.source
    assert source is not None
    rank = tuple(range(CLASSES))
    assert trained(source, rank) is trained(source, rank)
    bad = replace(source, logits=source.logits * np.float32(np.nan))
    with pytest.raises(ValueError, match="source logits of image 0"):
        fit("lsc", replace(evidence, source=bad))
    assert "lsc" not in [one.name for one in adapters.asked_for([])]
    assert "lsc" in [one.name for one in adapters.asked_for(["all"])]
    assert [one.name for one in adapters.asked_for(["em", "lsc", "em"])] == ["em", "lsc"]
    assert len(adapters.asked_for(["mean", "all"])) == len(adapters.ADAPTERS)
    assert adapters.get("lsc").access == ("estimated", "source", "transductive")
    assert len(KEPT) == 11


@pytest.mark.parametrize(("text", "hint"), [("lsc:gate=open", "released"), ("lsc:temper=0", "temper must")])
def test_options_are_checked(text: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        adapters.get(text)
