"""Adapters on stored features, against slow readings of their papers: loops, autograd and torch.optim."""

from dataclasses import replace
from operator import itemgetter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import entr, softmax

from harness import adapters
from harness.adapters.lame import agreed, nearest
from harness.adapters.parts.descent import Adam
from harness.evidence.arrays import Evidence
from harness.evidence.heads import Classifiers
from harness.protocol.draws import Draw
from harness.protocol.measure import adapt
from methods.core.priors import ExpertPriors
from shifts.common.errors import BadInput
from shifts.labels.draw import draw
from tests.harness.small import random_pool

NAMES = ["t3a", "lame", "tent_head", "shot_head"]
CLASSES, DIM = 4, 6
PRIORS = ExpertPriors(np.random.default_rng(5).dirichlet(np.full(CLASSES, 3.0), size=2), exact=True)


def scene(cosine: bool = False, images: int = 90, seed: int = 0) -> Evidence:
    """Two experts whose logits are those of their features."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(2, DIM, CLASSES)).astype(np.float32)
    biases = None if cosine else rng.normal(size=(2, CLASSES)).astype(np.float32)
    classifiers = Classifiers(weights, biases, 8.0 if cosine else None)
    labels = rng.integers(CLASSES, size=images)
    features = np.stack([expert.T[labels] for expert in weights], axis=1) + rng.normal(size=(images, 2, DIM))
    features = features.astype(np.float32)
    return Evidence(classifiers.logits(features), features=features, classifiers=classifiers)


def fit(name: str, evidence: Evidence) -> Any:
    return adapters.get(name).fit(evidence, np.ones(CLASSES, int), PRIORS, 0)  # type: ignore[union-attr]


def unit(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("kept", [1, 5, 0])
@pytest.mark.parametrize("first", ["adapt", "answer"])
def test_t3a_by_hand(cosine: bool, kept: int, first: str) -> None:
    """One list of supports a class, sorted and cut after each batch."""
    evidence = scene(cosine)
    assert evidence.features is not None
    assert evidence.classifiers is not None
    expected = np.zeros((90, CLASSES))
    for expert in range(2):
        weights = evidence.classifiers.weights[expert]
        scale = 8.0 if cosine else np.linalg.norm(weights, axis=0).mean()
        lists: list[list[tuple[float, np.ndarray]]] = [[] for _ in range(CLASSES)]

        def add(features: np.ndarray, logits: np.ndarray, lists: list[Any] = lists) -> None:
            for feature, row in zip(features, logits, strict=True):
                lists[int(row.argmax())].append((float(entr(softmax(row.astype(float))).sum()), feature))
            if kept:
                for of_class in lists:
                    of_class.sort(key=itemgetter(0))
                    del of_class[kept:]

        rows = np.repeat(weights.T[:, None], 2, axis=1)
        add(unit(weights.T), evidence.classifiers.logits(np.ascontiguousarray(rows))[:, expert])
        for start in range(0, 90, 40):
            part = slice(start, start + 40)
            shown = evidence.features[part, expert]
            if first == "adapt":
                add(unit(shown), evidence.logits[part, expert])
            sums = [np.sum([one[1] for one in of_class], axis=0) if of_class else np.zeros(DIM) for of_class in lists]
            prototypes = np.array([unit(one) if one.any() else one for one in sums])
            expected[part] += scale * (unit(shown) if cosine else shown) @ prototypes.T / 2
            if first == "answer":
                add(unit(shown), evidence.logits[part, expert])
    found = fit(f"t3a:batch=40,kept={kept},first={first}", evidence).predict(evidence)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_t3a_remembers_no_more_than_it_may() -> None:
    evidence = scene(images=400)
    few, every = (fit(f"t3a:batch=20,kept={kept}", evidence).predict(evidence) for kept in (3, 0))
    assert np.abs(few - every).max() > 0.01
    np.testing.assert_array_equal(fit("t3a:batch=20,kept=1000", evidence).predict(evidence), every)


def test_lame_by_hand() -> None:
    evidence = scene(images=50)
    assert evidence.features is not None
    posteriors = softmax(evidence.logits.mean(1, dtype=float), 1)
    features = unit(evidence.features).reshape(50, -1)
    near = np.zeros((50, 50))
    for image, row in enumerate(features @ features.T):
        others = [other for other in np.argsort(-row, kind="stable") if other != image]
        near[image, others[:5]] = 1
    assert not np.array_equal(near, near.T)
    answers, energies = posteriors, []
    for _ in range(100):
        answers = softmax(np.log(posteriors + 1e-10) + near @ answers, 1)
        pulled = answers * (-np.log(posteriors + 1e-10)) - answers * (near @ answers) - entr(answers)
        energies.append(pulled.sum())
        if len(energies) > 1 and abs(energies[-1] - energies[-2]) <= 1e-8 * abs(energies[-2]):
            break
    found = fit("lame", evidence).predict(evidence)
    np.testing.assert_allclose(softmax(found, 1), answers, atol=1e-4)
    assert np.abs(answers - posteriors).max() > 0.1


def test_lame_helps_where_classes_come_together_and_not_where_they_are_mixed() -> None:
    """A lone image keeps its answer; neighbours of one class outvote a wrong answer."""
    one = scene(images=1)
    np.testing.assert_allclose(fit("lame", one).predict(one), np.log(softmax(one.logits.mean(1), 1)), atol=1e-4)
    features = np.repeat(np.eye(2, dtype=np.float32), 6, axis=0)
    posteriors = np.where(features == 1, 0.7, 0.3)
    posteriors[2] = [0.4, 0.6]
    assert (agreed(posteriors, nearest(features, 5)).argmax(1) == np.repeat([0, 1], 6)).all()


@pytest.mark.parametrize("name", ["tent_head", "shot_head", "shot_head:towards=target"])
@pytest.mark.parametrize("on", ["head", "affine"])
@pytest.mark.parametrize("cosine", [False, True])
def test_tent_and_shot_are_autograd_and_torch_adam(name: str, on: str, cosine: bool) -> None:
    evidence = scene(cosine)
    assert evidence.features is not None
    assert evidence.classifiers is not None
    weights = torch.from_numpy(evidence.classifiers.weights.copy())
    biases = evidence.classifiers.biases
    added = torch.zeros(2, CLASSES) if biases is None else torch.from_numpy(biases.copy())
    scales, shifts = torch.ones(2, DIM), torch.zeros(2, DIM)
    moved = [weights, added] if on == "head" else [scales, shifts]
    optimiser = torch.optim.Adam([one.requires_grad_() for one in moved], lr=0.01)
    held = np.exp(np.log(PRIORS.values).mean(0))
    wanted = torch.from_numpy(held / held.sum() if "target" in name else np.full(CLASSES, 1 / CLASSES)).float()
    expected = []
    for start in range(0, 90, 32):
        features = torch.from_numpy(evidence.features[start : start + 32]) * scales + shifts
        if cosine:
            cosines = [
                torch.nn.functional.normalize(features[:, e], dim=1) @ torch.nn.functional.normalize(weights[e], dim=0)
                for e in range(2)
            ]
            logits = (8.0 * torch.stack(cosines, 1) + added).mean(1)
        else:
            logits = (torch.einsum("bed,edc->bec", features, weights) + added).mean(1)
        expected.append(logits.detach().numpy().copy())
        answers = logits.softmax(1)
        loss = -(answers * logits.log_softmax(1)).sum(1).mean()
        if "shot" in name:
            mean = answers.mean(0)
            loss = loss + (mean * (mean / wanted).log()).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = fit(f"{name}{',' if ':' in name else ':'}on={on},rate=0.01", evidence).predict(evidence)
    np.testing.assert_allclose(found, np.concatenate(expected), atol=2e-3)
    np.testing.assert_allclose(found[:32], evidence.logits[:32].mean(1), atol=1e-4)
    assert np.abs(found[32:] - evidence.logits[32:].mean(1)).max() > 0.02


@given(st.integers(0, 2**32 - 1))
def test_adam_is_torch_adam(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, slopes = rng.normal(size=(3, 2)), rng.normal(size=(5, 3, 2)) * 10.0 ** rng.integers(-6, 3)
    ours, theirs = start.copy(), torch.from_numpy(start.copy()).requires_grad_()
    mine, other = Adam([ours], 0.05), torch.optim.Adam([theirs], lr=0.05)
    for slope in slopes:
        mine.step([slope])
        theirs.grad = torch.from_numpy(slope)
        other.step()
    np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_without_features_they_do_not_apply_and_by_default_they_are_not_run(name: str) -> None:
    evidence, adapter = scene(), adapters.get(name)
    assert adapter.missing(evidence) is None
    assert adapter.missing(replace(evidence, features=None)) == "the evidence has no features"
    if name != "lame":
        assert adapter.missing(replace(evidence, classifiers=None)) == "the evidence has no classifiers"
    assert adapter.access == ("none", "none", "stream")
    assert name not in [one.name for one in adapters.asked_for([])]
    with pytest.raises(ValueError, match="90 images were read; 3"):
        fit(name, evidence).predict(evidence.take(np.arange(3)))
    bad = replace(evidence, features=evidence.features.copy())  # type: ignore[union-attr]
    assert bad.features is not None
    bad.features[7, 1, 2] = np.nan
    with pytest.raises(ValueError, match="features of image 7"):
        fit(name, bad)
    if name != "lame":
        with pytest.raises(ValueError, match="do not belong"):
            fit(name, replace(evidence, features=bad.features[..., :3]))


@pytest.mark.parametrize("name", NAMES)
def test_later_images_change_no_earlier_answer(name: str) -> None:
    evidence = scene(images=100)
    whole = fit(f"{name}:batch=20", evidence).predict(evidence)
    part = evidence.take(np.arange(40))
    np.testing.assert_allclose(fit(f"{name}:batch=20", part).predict(part), whole[:40], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_protocol_gives_them_features_in_the_order_of_arrival(name: str) -> None:
    pool = random_pool(images=200, signal=1)
    rng = np.random.default_rng(0)
    _, experts, classes = pool.evidence.logits.shape
    classifiers = Classifiers(rng.normal(size=(experts, 5, classes)).astype(np.float32))
    features = rng.normal(size=(200, experts, 5)).astype(np.float32)
    pool = replace(pool, evidence=replace(pool.evidence, features=features, classifiers=classifiers))
    on = Draw(0, draw(pool.labels, np.array([20, 20, 20, 20, 20])))
    for order in ("shuffled", "class_correlated"):
        assert 0 <= adapt(adapters.get(f"{name}:order={order}"), pool, on).accuracy.top1 <= 1


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("t3a:kept=-1", "kept must"),
        ("t3a:first=learn", "answer"),
        ("lame:neighbours=0", "neighbours must"),
        ("tent_head:on=body", "affine"),
        ("tent_head:rate=0", "rate must"),
        ("shot_head:towards=em", "target"),
        ("lame:order=backwards", "square"),
    ],
)
def test_options_are_checked(text: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        adapters.get(text)
