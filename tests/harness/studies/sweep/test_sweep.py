"""The preference sweep: every kind against the adapters that answer the same question, counts, choices, access."""

from dataclasses import replace

import numpy as np
import pytest

from harness.adapters.parts.contract import WeightedExperts
from harness.adapters.parts.correction import prior_correction
from harness.adapters.preference import Preference, PreferredHeads
from harness.adapters.preference_em import PreferenceEm
from harness.evidence.arrays import Evidence, PoolEvidence
from harness.evidence.heads import lattice
from harness.measures.metrics import evaluate
from harness.studies.sweep.preference import Family, choose, class_counts, control_priors, family_of, sweep
from harness.studies.sweep.rows import ACCESS, CHOICES
from methods.core.priors import ExpertPriors, target_prior
from methods.papers.sade import Sade
from shifts.labels.distance import total_variation
from tests.harness.adapters.test_preference import pool_of, random_heads
from tests.harness.small import random_pool

KINDS = ("hypernetwork", "weights", "adjustment")


def pool_for(kind: str, images: int = 530) -> PoolEvidence:
    """A random pool of a kind, of more images than are worked on at once."""
    if kind == "hypernetwork":
        return pool_of(random_heads(), images=images)
    return random_pool(1, images=images, experts=3 if kind == "weights" else 1)


def logits_at(pool: PoolEvidence, family: Family, point: int, evidence: Evidence) -> np.ndarray:
    """What the point predicts, through the adapters' own arithmetic."""
    if family.kind == "hypernetwork":
        chosen = PreferredHeads(point, family.points[point], family.priors[point], np.zeros(len(family.points)))
        return chosen.predict(evidence)
    if family.kind == "weights":
        return WeightedExperts(family.points[point]).predict(evidence)
    wanted = target_prior(Sade().expert_priors(pool.train_counts), family.points[point])
    bias = prior_correction(wanted, target_prior(pool.expert_priors))
    return WeightedExperts(np.ones(1), bias=bias).predict(evidence)


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_that_of_the_metrics(kind: str) -> None:
    pool = pool_for(kind)
    family = family_of(pool, steps=4)
    assert family.kind == kind
    rng = np.random.default_rng(0)
    few_classes = np.flatnonzero(pool.labels < 3)
    draws = [np.arange(len(pool.labels)), rng.permutation(len(pool.labels))[:90], few_classes[:50]]
    found = sweep(pool, family, draws, ["uniform", "forward_lt", "custom"])
    for swept, draw in zip(found, draws, strict=True):
        for point in range(len(family.points)):
            logits = logits_at(pool, family, point, pool.evidence.take(draw))
            metrics = evaluate(logits, pool.labels[draw], pool.train_counts)
            for name in ("top1", "many", "medium", "few", "macro"):
                values, expected = getattr(swept, name), getattr(metrics, name)
                assert (values is None) == (expected is None), name
                if values is not None:
                    assert values[point] == pytest.approx(expected), (name, point)
        totals = np.bincount(pool.labels[draw], minlength=len(pool.train_counts))
        distances = [total_variation(prior, totals) for prior in family.priors]
        np.testing.assert_allclose(swept.tv_test, distances)
    assert any(swept.few is None for swept in found), "one draw leaves a group empty"


@pytest.mark.parametrize("kind", KINDS)
def test_agreement_is_the_cosine_of_two_softmax_answers(kind: str) -> None:
    pool = pool_for(kind)
    family = family_of(pool, steps=2)
    table = family.agreement()
    assert table is not None
    views, features = pool.evidence.views, pool.evidence.view_features
    assert views is not None
    for point in (0, 1, len(family.points) - 1):
        cosines = []
        for pair in range(len(views)):
            answers = []
            for view in range(2):
                shown = Evidence(views[pair, view], head=pool.evidence.head)
                if features is not None:
                    shown = replace(shown, features=features[pair, view])
                powers = np.exp(logits_at(pool, family, point, shown).astype(np.float64))
                answers.append(powers / powers.sum(1, keepdims=True))
            norms = np.linalg.norm(answers[0], axis=1) * np.linalg.norm(answers[1], axis=1)
            cosines.append((answers[0] * answers[1]).sum(1) / norms)
        np.testing.assert_allclose(table[:, point], np.mean(cosines, axis=0), atol=1e-4)


def test_label_free_choices_are_those_of_the_adapters() -> None:
    pool = pool_for("hypernetwork")
    draws = [np.random.default_rng(seed).permutation(530)[:200] for seed in range(4)]
    found = sweep(pool, family_of(pool), draws, ["custom"] * 4)
    for swept, draw in zip(found, draws, strict=True):
        evidence = pool.evidence.take(draw)
        stable = Preference().fit(evidence, pool.train_counts, pool.expert_priors, 0)
        estimated = PreferenceEm().fit(evidence, pool.train_counts, pool.expert_priors, 0)
        assert (swept.chosen["stability"], swept.chosen["em"]) == (stable.point, estimated.point)
        assert swept.agreement is not None
        np.testing.assert_allclose(swept.agreement, stable.scores, atol=1e-6)
        np.testing.assert_allclose(swept.tv_estimate, -estimated.scores, atol=1e-9)


def test_choices_do_not_see_labels() -> None:
    """Permuting the labels inside a draw changes nothing but what is told them."""
    pool = pool_for("weights")
    draw = np.random.default_rng(0).permutation(530)[:300]
    moved = pool.labels.copy()
    moved[draw] = np.random.default_rng(1).permutation(moved[draw])
    family = family_of(pool, steps=4)
    (before,) = sweep(pool, family, [draw], ["backward_lt"])
    (after,) = sweep(replace(pool, labels=moved), family, [draw], ["backward_lt"])
    for choice in ("centre", "corner", "stability", "em"):
        assert before.chosen[choice] == after.chosen[choice]
    assert not np.array_equal(before.top1, after.top1)
    prior, label, test = zip(*(ACCESS[choice] for choice in CHOICES), strict=True)
    assert dict(zip(CHOICES, label, strict=True)) == dict.fromkeys(CHOICES, "none") | {"best": "test"}
    assert dict(zip(CHOICES, prior, strict=True))["em"] == "estimated"
    assert dict(zip(CHOICES, test, strict=True))["stability"] == "transductive"


def test_counts_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    hits, labels = rng.random((40, 7)) < 0.5, rng.integers(0, 4, 40)
    # an image drawn twice counts twice, a class that is not drawn has no image
    draws = [np.array([3, 3, 5]), np.flatnonzero(labels != 2), np.arange(40)]
    right, total = class_counts(hits, labels, draws, 4)
    for number, draw in enumerate(draws):
        for c in range(4):
            of_class = draw[labels[draw] == c]
            assert total[number, c] == len(of_class)
            assert right[number, :, c].tolist() == hits[of_class].sum(0).tolist()


def test_points_that_a_user_may_take() -> None:
    points = lattice(3, 10)
    rng = np.random.default_rng(0)
    top1, score, estimate = rng.random((3, len(points)))
    flat = np.ones(len(points))
    for kind, corner in (("forward_lt", 0), ("backward_lt", 2)):
        chosen = choose(points, kind, top1, score, estimate, flat)
        assert points[chosen["corner"]].tolist() == np.eye(3)[corner].tolist()
    chosen = choose(points, "uniform", top1, score, estimate, np.abs(points[:, 1] - 1))
    assert points[chosen["corner"]].tolist() == [0, 1, 0], "the expert whose prior is nearest to the true one"
    assert chosen["centre"] == 0
    assert chosen["best"] == top1.argmax()
    assert chosen["stability"] == score.argmax()
    assert chosen["em"] == estimate.argmin()
    assert "stability" not in choose(points, "uniform", top1, None, estimate, flat)
    assert choose(points[::-1], "uniform", flat, flat, flat, flat)["centre"] == len(points) - 1


def test_control_priors_are_those_of_sades_experts() -> None:
    counts = np.array([500, 120, 120, 9, 5])
    np.testing.assert_allclose(control_priors(counts).values, Sade().expert_priors(counts).values)


def test_adjustment_reaches_the_prior_that_a_preference_stands_for() -> None:
    """A network that knows nothing but its prior predicts with p_alpha after adjustment."""
    pool = random_pool(0, images=20, experts=1, pairs=0)
    answered = pool.expert_priors.values[0]
    blank = replace(pool, evidence=Evidence(np.tile(np.log(answered), (20, 1, 1)).astype(np.float32)))
    family = family_of(blank, steps=2)
    for point in range(len(family.points)):
        answers = np.exp(family.answer(family.inputs, point)[0])
        np.testing.assert_allclose(answers / answers.sum(), family.priors[point], rtol=1e-4)
    assert family.agreement() is None
    (swept,) = sweep(blank, family, [np.arange(20)], ["uniform"])
    assert swept.agreement is None
    assert "stability" not in swept.chosen


def test_unusable_evidence_is_refused() -> None:
    pool = pool_for("hypernetwork")
    broken = replace(pool, evidence=replace(pool.evidence, features=pool.evidence.features[:, :, :2]))  # type: ignore[index]
    with pytest.raises(ValueError, match="do not belong"):
        family_of(broken)
    with pytest.raises(ValueError, match="two experts and a step"):
        family_of(random_pool(), steps=0)
    with pytest.raises(ValueError, match="expert prior"):
        family_of(replace(random_pool(), expert_priors=ExpertPriors(np.full((2, 5), 0.2), exact=True)))
