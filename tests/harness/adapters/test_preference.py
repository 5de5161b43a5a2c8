"""Preference: heads as arrays, lattice, choices on made-up cases, evidence files, a run of the real command."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness import adapters
from harness.adapters.mean import Mean
from harness.adapters.parts.likelihood import likeliest_prior
from harness.adapters.preference import Preference, PreferredHeads
from harness.adapters.preference_em import PreferenceEm
from harness.evidence.arrays import Evidence, PoolEvidence
from harness.evidence.heads import PreferenceHeads, agreement, lattice
from harness.passes.gather import preference_heads
from methods.core.batch import NetworkSpec
from methods.core.priors import ExpertPriors, target_prior
from methods.papers.prl import Prl
from shifts.labels.distance import total_variation
from tests.harness.small import random_pool

COUNTS = np.array([9, 5, 2])


def random_heads(seed: int = 0, classes: int = 5, dim: int = 4, steps: int = 2) -> PreferenceHeads:
    rng = np.random.default_rng(seed)
    points = lattice(3, steps)
    weights = rng.normal(size=(len(points), 3, dim, classes)).astype(np.float32)
    return PreferenceHeads(points, weights, 30.0, rng.dirichlet(np.ones(classes), size=len(points)))


def pool_of(head: PreferenceHeads, images: int = 60, pairs: int = 2, seed: int = 0) -> PoolEvidence:
    """A random pool whose logits are those of random features at the head's first point."""
    rng = np.random.default_rng(seed)
    pool = random_pool(seed, images, 3, head.weights.shape[-1], pairs)
    features = rng.normal(size=(images, 3, head.weights.shape[2])).astype(np.float32)
    view_features = (features + rng.normal(size=(pairs, 2, *features.shape))).astype(np.float32)
    found = Evidence(
        head.logits(features, 0),
        np.stack([[head.logits(view, 0) for view in pair] for pair in view_features]),
        features,
        view_features,
        head=head,
    )
    return replace(pool, evidence=found)


def fit(adapter: Preference | PreferenceEm, pool: PoolEvidence) -> PreferredHeads:
    return adapter.fit(pool.evidence, pool.train_counts, pool.expert_priors, 0)


def test_the_lattice_holds_every_share_once_and_the_centre_first() -> None:
    points = lattice(3)
    np.testing.assert_allclose(points[0], 1 / 3)
    tenths = np.round(points[1:] * 10).astype(int)
    np.testing.assert_array_equal(tenths / 10, points[1:])
    assert {tuple(row) for row in tenths.tolist()} == {(a, b, 10 - a - b) for a in range(11) for b in range(11 - a)}
    assert len(points) == 1 + 66
    np.testing.assert_allclose(points.sum(1), 1)
    assert len(lattice(3, 20)) == 1 + 231
    assert len(lattice(3, 9)) == 55, "the centre lies on this lattice already"
    assert sorted(map(tuple, lattice(2, 2).tolist())) == [(0, 1), (0.5, 0.5), (1, 0)]
    with pytest.raises(ValueError, match="two experts and a step"):
        lattice(1)


@pytest.mark.parametrize("variant", ["paper", "released", "preference_weighted"])
def test_heads_answer_as_the_network(variant: str) -> None:
    torch.manual_seed(0)
    method = Prl(variant=variant)  # type: ignore[arg-type]
    network = method.network(NetworkSpec("resnet8", tuple(COUNTS), (16, 16))).eval()
    network.head.free.data += torch.tensor([0.3, -0.2, 0.1])
    heads = preference_heads(method, COUNTS, network)
    images = torch.rand(8, 3, 16, 16)
    with torch.inference_mode():
        output = network(images)
        for point in (0, 1, 30, 66):
            alpha = torch.tensor(heads.points[point], dtype=torch.float32)
            # at the centre: what the network answers without being asked for a preference
            expected = output.logits if point == 0 else network(images, alpha).logits
            features = output.features.numpy()
            found = heads.logits(features, point)
            np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
            np.testing.assert_allclose(heads.ensemble(features, point), found.mean(1), atol=1e-4)
    # what a preference stands for is the geometric mixture of SADE's (released: BalPoE's) priors, in every variant
    base = Prl(variant="released" if variant == "released" else "paper").expert_priors(COUNTS)
    for point, prior in zip(heads.points, heads.priors, strict=True):
        np.testing.assert_allclose(prior, target_prior(base, point), atol=1e-9)


def test_without_length_a_feature_says_nothing() -> None:
    assert not random_heads().logits(np.zeros((2, 3, 4), np.float32), 0).any()


@pytest.mark.parametrize("stable", range(3))
def test_the_corner_whose_views_agree_is_chosen(stable: int) -> None:
    rng = np.random.default_rng(stable)
    classes, images, points = 4, 300, lattice(3)
    # three blocks of features, read by the classifiers in shares of the preference; one block is the same in all views
    blocks = np.stack([np.eye(3 * classes)[classes * block : classes * (block + 1)].T for block in range(3)])
    weights = np.einsum("pb,bdc->pdc", points, blocks)[:, None].repeat(3, 1).astype(np.float32)
    heads = PreferenceHeads(points, weights, 30.0, np.full((len(points), classes), 1 / classes))
    views = rng.normal(size=(2, 2, images, 3, 3 * classes))
    same = rng.normal(size=(images, 1, classes))
    views[..., classes * stable : classes * (stable + 1)] = same
    clean = np.tile(same, (1, 3, 3)).astype(np.float32)
    priors = ExpertPriors(np.full((3, classes), 1 / classes), exact=True)
    found = Evidence(heads.logits(clean, 0), features=clean, view_features=views.astype(np.float32), head=heads)
    fitted = Preference().fit(found, np.ones(classes, int), priors, 0)
    np.testing.assert_array_equal(fitted.preference, np.eye(3)[stable])
    assert fitted.scores.shape == (67,)
    assert fitted.scores.argmax() == fitted.point
    assert fitted.weights is None
    assert np.array_equal(fitted.predict(found), heads.ensemble(clean, fitted.point))


def test_agreement_is_the_cosine_of_both_views_predictions() -> None:
    pool = pool_of(random_heads(), images=520)  # more than are worked on at once
    heads, views = random_heads(), pool.evidence.view_features
    assert views is not None
    table = agreement(heads, views)
    for point in range(len(heads.points)):
        cosines = []
        for first, second in views:
            one, two = (torch.tensor(heads.logits(view, point)).mean(1).softmax(1) for view in (first, second))
            cosines.append(torch.cosine_similarity(one, two).numpy())
        np.testing.assert_allclose(table[:, point], np.mean(cosines, axis=0), atol=1e-5)
    # known beforehand or worked out for the draw: the same choice; a draw takes its own images' part
    known = replace(pool, evidence=replace(pool.evidence, agreement=table))
    np.testing.assert_allclose(fit(Preference(), known).scores, fit(Preference(), pool).scores, atol=1e-6)
    draw = np.array([5, 2, 2, 519])
    drawn = known.evidence.take(draw)
    np.testing.assert_array_equal(drawn.agreement, table[draw])
    assert drawn.head is known.evidence.head
    np.testing.assert_allclose(agreement(heads, drawn.view_features), table[draw], atol=1e-6)  # type: ignore[arg-type]


def test_views_that_agree_everywhere_leave_the_centre() -> None:
    pool = pool_of(random_heads())
    found = replace(pool.evidence, agreement=np.ones((60, 7), np.float32))
    fitted = fit(Preference(), replace(pool, evidence=found))
    np.testing.assert_allclose(fitted.preference, 1 / 3)
    mean = Mean().fit(found, pool.train_counts, pool.expert_priors, 0)
    np.testing.assert_allclose(fitted.predict(found), mean.predict(found), atol=1e-5)


@pytest.mark.parametrize("number", [0, 3, 17, 42, 66])
def test_em_finds_the_preference_behind_a_test_prior(number: int) -> None:
    rng = np.random.default_rng(number)
    classes, images, points = 8, 4000, lattice(3)
    priors = ExpertPriors(rng.dirichlet(np.full(classes, 2.0), size=3), exact=True)
    implied = np.stack([target_prior(priors, point) for point in points])
    heads = PreferenceHeads(points, rng.normal(size=(67, 3, 4, classes)).astype(np.float32), 30.0, implied)
    labels = rng.choice(classes, size=images, p=implied[number])
    # Gaussian classes: the posterior under the prior that the mean answers for is known
    seen = 3 * np.eye(classes)[labels] + rng.normal(size=(images, classes))
    logits = (3 * seen + np.log(target_prior(priors))).astype(np.float32)
    features = rng.normal(size=(images, 3, 4)).astype(np.float32)
    found = Evidence(np.repeat(logits[:, None], 3, 1), features=features, head=heads)
    fitted = PreferenceEm().fit(found, np.ones(classes, int), priors, 0)
    posteriors = torch.tensor(logits).double().softmax(1).numpy()
    estimate = likeliest_prior(posteriors / target_prior(priors), target_prior(priors))
    assert fitted.point == np.argmin([total_variation(prior, estimate) for prior in implied])
    assert total_variation(fitted.prior, implied[number]) < 0.04
    np.testing.assert_array_equal(fitted.prior, implied[fitted.point])
    np.testing.assert_array_equal(fitted.preference, points[fitted.point])


def test_what_they_know_is_declared() -> None:
    for adapter, prior_access in ((Preference, "none"), (PreferenceEm, "estimated")):
        assert adapter.access == (prior_access, "none", "transductive")
    assert {"preference", "preference_em"} <= set(dict(adapters.names()))


def test_unusable_parts_are_refused() -> None:
    pool = pool_of(random_heads())
    found = pool.evidence
    assert found.features is not None
    assert found.view_features is not None
    broken = found.features.copy()
    broken[7, 0, 0] = np.nan
    for changes, said in [
        ({"head": None}, "has no head"),
        ({"view_features": None}, "has no view_features"),
        ({"features": found.features[:, :, :3]}, "do not belong to logits"),
        ({"head": random_heads(classes=4)}, "do not belong to logits"),
        ({"features": broken}, "features of image 7"),
        ({"view_features": found.view_features[:, :1]}, "view features of shape"),
        ({"agreement": np.ones((60, 6), np.float32)}, r"agreement must be \[60, 7\]"),
    ]:
        with pytest.raises(ValueError, match=said):
            fit(Preference(), replace(pool, evidence=replace(found, **changes)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="head and features"):
        fit(PreferenceEm(), pool).predict(replace(found, features=None))
