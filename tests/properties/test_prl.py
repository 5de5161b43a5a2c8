"""What must hold of the hypernetwork head and of PRL's losses for any preference."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from methods.core.batch import Batch
from methods.core.priors import target_prior
from methods.losses import sade_experts, smooth_tchebycheff
from methods.networks.hypernetwork import PreferenceHead
from methods.papers.prl import Prl
from tests.properties.joint import Given, loss_of, random_joint, recover_priors

seeds = st.integers(0, 2**31 - 1)
shares = st.lists(st.floats(0.01, 1), min_size=3, max_size=3)
VARIANTS = ("paper", "released", "preference_weighted")


def head_of(seed: int, combine: str = "product") -> PreferenceHead:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PreferenceHead(3, 4, 5, combine).double()  # type: ignore[arg-type]


def features_of(seed: int) -> Tensor:
    return torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def simplex(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64) / sum(values)


@given(st.lists(st.floats(-30, 30), min_size=3, max_size=3), shares)
def test_r_is_positive_and_points_are_in_their_range_for_any_parameter(free: list[float], alpha: list[float]) -> None:
    for combine in ("product", "sum"):
        head = head_of(0, combine)
        head.free.data = torch.tensor(free, dtype=torch.float64)
        assert (head.preference > 0).all()
        point = head.point(simplex(alpha))
        assert point.isfinite().all()
        assert (point >= 0).all()
        assert (point <= 1 + 1e-6).all()
        if combine == "product":
            torch.testing.assert_close(point.sum(), torch.ones_like(point[0]))
        elif head.preference.amax() > head.preference.amin():  # softplus makes one number of parameters near zero
            assert head.point(head.centre()).aminmax() == (0, 1)


@given(seeds, shares, shares)
def test_heads_vary_with_the_preference_and_their_scale_does_not_matter(
    seed: int, one: list[float], two: list[float]
) -> None:
    head, features = head_of(seed), features_of(seed)
    first, second = simplex(one), simplex(two)
    logits = head(features, first)
    assert logits.abs().max() <= 30 + 1e-4
    torch.testing.assert_close(head(features, 7 * first), logits)
    torch.testing.assert_close(head(3 * features, first), logits)
    if (first - second).abs().max() > 0.05:
        assert (head(features, second) - logits).abs().max() > 1e-3


@given(seeds, st.lists(shares, min_size=3, max_size=3), st.integers(0, 2))
def test_the_head_of_an_expert_depends_on_its_own_row_only(seed: int, rows: list[list[float]], expert: int) -> None:
    head, features = head_of(seed), features_of(seed)
    preferences = torch.stack([simplex(row) for row in rows])
    logits = head(features, preferences)
    torch.testing.assert_close(logits[:, expert], head(features, preferences[expert])[:, expert])
    moved = preferences.clone()
    moved[expert] = simplex([1, 2, 3])
    others = [e for e in range(3) if e != expert]
    torch.testing.assert_close(head(features, moved)[:, others], logits[:, others])


@given(seeds, st.permutations(range(3)), st.floats(0.02, 2))
def test_permuting_experts_changes_nothing(seed: int, order: list[int], mu: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(8, 3, 4, generator=generator, dtype=torch.float64) * 3
    target, counts = torch.randint(0, 4, (8,), generator=generator), torch.tensor([50, 20, 5, 1])
    losses = sade_experts(logits, target, counts)
    whole = losses.sum() + smooth_tchebycheff(losses, mu)
    permuted = losses[order].sum() + smooth_tchebycheff(losses[order], mu)
    torch.testing.assert_close(permuted, whole)
    torch.testing.assert_close(loss_of(Prl(mu=mu).step, counts)(logits, target), whole)
    weighted = loss_of(Prl(variant="preference_weighted").step, counts)
    torch.testing.assert_close(weighted(logits[:, order], target), weighted(logits, target))


@pytest.mark.parametrize("variant", VARIANTS)
@given(seed=seeds, scale=st.sampled_from([0.0, 1.0, 30.0, 1e4]))
def test_losses_and_gradients_are_finite(variant: str, seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(8, 3, 4, generator=generator)).requires_grad_()
    target, counts = torch.randint(0, 4, (8,), generator=generator), torch.tensor([5000.0, 20, 5, 1])
    loss = loss_of(Prl(variant=variant).step, counts, seed=seed)(logits, target)  # type: ignore[arg-type]
    assert loss.isfinite()
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_known_joint_each_head_recovers_the_prior_of_its_loss(variant: str, seed: int) -> None:
    method, joint = Prl(variant=variant, mixup=0.0), random_joint(points=6, classes=4, seed=seed)  # type: ignore[arg-type]
    stated = method.expert_priors(joint.class_counts.numpy())
    recovered = recover_priors(joint, loss_of(method.step, joint.class_counts), experts=3)
    torch.testing.assert_close(recovered, torch.from_numpy(stated.values), rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_known_joint_a_preference_is_a_target_prior_where_it_enters_the_loss(seed: int) -> None:
    method = Prl(variant="preference_weighted", mixup=0.0)
    joint = random_joint(points=6, classes=4, seed=seed)
    counts = joint.class_counts
    batch = Batch(torch.zeros(1), torch.zeros(1), counts.float(), generator=torch.Generator().manual_seed(seed))
    drawn = method.draw(batch).tolist()
    stated = method.expert_priors(counts.numpy(), drawn)
    recovered = recover_priors(joint, loss_of(method.step, counts, seed=seed), experts=3)
    torch.testing.assert_close(recovered, torch.from_numpy(stated.values), rtol=0, atol=1e-3)


@given(seeds, shares)
def test_priors_of_a_preference_interpolate_between_the_experts(seed: int, alpha: list[float]) -> None:
    counts = np.random.default_rng(seed).integers(1, 500, 7)
    ours, paper = Prl(variant="preference_weighted"), Prl()
    given_priors = paper.expert_priors(counts)
    for corner in range(3):
        found = ours.expert_priors(counts, np.eye(3)[corner].tolist()).values
        np.testing.assert_allclose(found, np.tile(given_priors.values[corner], (3, 1)), rtol=1e-6)
    wanted = target_prior(given_priors, np.array(alpha) / sum(alpha))
    np.testing.assert_allclose(ours.expert_priors(counts, alpha).values[0], wanted)
    np.testing.assert_array_equal(paper.expert_priors(counts, alpha).values, given_priors.values)
    assert not ours.expert_priors(counts).exact


def test_given_logits_stand_in_for_any_network() -> None:
    logits = torch.zeros(2, 3, 4)
    assert torch.equal(Given(logits)(torch.zeros(2), torch.ones(3), retrained=False).logits, logits)
