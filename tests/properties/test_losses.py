"""Invariants of the losses, each where it is true, and the label prior that each loss is minimised by."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from methods import losses
from tests.profiles import few
from tests.properties.joint import clear_points, fit_table, random_joint, recover_priors

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
seeds = st.integers(0, 2**31 - 1)

# name: loss of expert logits [B, 3, C], labels [B], counts [C]; single losses take expert 0.
PRIOR: dict[str, Loss] = {
    "cross_entropy": lambda z, y, n: losses.cross_entropy(z[:, 0], y),
    "balanced_softmax": lambda z, y, n: losses.balanced_softmax(z[:, 0], y, n),
    "inverse_softmax": lambda z, y, n: losses.inverse_softmax(z[:, 0], y, n, 2.0),
    "logit_adjusted": lambda z, y, n: losses.logit_adjusted(z[:, 0], y, n, 0.7),
    "sade": losses.sade,
    "balpoe": losses.balpoe,
    "prl": lambda z, y, n: losses.smooth_tchebycheff(losses.sade_experts(z, y, n), 0.1),
}
MARGIN: dict[str, Loss] = {
    "ldam": lambda z, y, n: losses.ldam(z[:, 0], y, n),
    "ldam_drw": lambda z, y, n: losses.ldam(z[:, 0], y, n, class_weight=losses.drw_weights(n)),
    "distillation": lambda z, y, n: losses.distillation(z[:, 0], z[:, 1].detach()),
}
TRANSFER: dict[str, Loss] = {
    "shike": lambda z, y, n: losses.shike(z, y),
    "shike_masked": lambda z, y, n: losses.shike(z, y, teacher_target_logit="masked"),
    "mutual": lambda z, y, n: losses.mutual_kl(z, reduction="batchmean").sum(),
}
RIDE: dict[str, Loss] = {
    "ride": lambda z, y, n: losses.ride(z, y, n, reweighted=False),
    "ride_reweighted": lambda z, y, n: losses.ride(z, y, n, reweighted=True),
    "ride_collaborative": lambda z, y, n: losses.ride(z, y, n, reweighted=True, individual=False),
}
EVERY = PRIOR | MARGIN | TRANSFER | RIDE
SHIFT_FREE = PRIOR | MARGIN | {name: TRANSFER[name] for name in ("shike_masked", "mutual")} | {"ride": RIDE["ride"]}


def sample(seed: int, classes: int = 5, scale: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Expert logits [6, 3, C] in float64, labels [6] and distinct counts [C]."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(6, 3, classes, generator=generator, dtype=torch.float64)
    counts = torch.randperm(200, generator=generator)[:classes] + 1
    return logits, torch.randint(0, classes, (6,), generator=generator), counts.double()


def value_and_gradient(loss: Loss, logits: Tensor, target: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    free = logits.clone().requires_grad_()
    value = loss(free, target, counts)
    return value.detach(), torch.autograd.grad(value, free)[0]


@pytest.mark.parametrize("name", SHIFT_FREE)
@given(seed=seeds, constant=st.floats(-50, 50))
def test_a_constant_added_to_all_logits_changes_nothing(name: str, seed: int, constant: float) -> None:
    logits, target, counts = sample(seed)
    moved = SHIFT_FREE[name](logits + constant, target, counts)
    torch.testing.assert_close(moved, SHIFT_FREE[name](logits, target, counts), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", EVERY)
@given(seed=seeds)
def test_permuting_classes_changes_nothing_and_permutes_gradients(name: str, seed: int) -> None:
    logits, target, counts = sample(seed)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    value, gradient = value_and_gradient(EVERY[name], logits, target, counts)
    permuted = value_and_gradient(EVERY[name], logits[..., order], order.argsort()[target], counts[order])
    torch.testing.assert_close(permuted[0], value)
    torch.testing.assert_close(permuted[1], gradient[..., order])


@pytest.mark.parametrize("name", [*RIDE, *TRANSFER])
@given(seed=seeds, order=st.permutations(range(3)))
def test_permuting_experts_changes_nothing(name: str, seed: int, order: list[int]) -> None:
    logits, target, counts = sample(seed)
    loss = EVERY[name]
    torch.testing.assert_close(loss(logits[:, order], target, counts), loss(logits, target, counts))


@given(seed=seeds, order=st.permutations(range(3)), taus=st.lists(st.floats(-1, 3), min_size=3, max_size=3))
def test_permuting_experts_with_their_taus(seed: int, order: list[int], taus: list[float]) -> None:
    logits, target, counts = sample(seed)
    permuted = losses.balpoe(logits[:, order], target, counts, [taus[e] for e in order])
    torch.testing.assert_close(permuted, losses.balpoe(logits, target, counts, taus))


@pytest.mark.parametrize("name", PRIOR | MARGIN | TRANSFER)
@few
@given(seed=seeds)
def test_gradients_against_finite_differences(name: str, seed: int) -> None:
    logits, target, counts = sample(seed, scale=1.0)
    fixed = logits.clone()

    def loss(free: Tensor) -> Tensor:
        if name == "distillation":  # its teacher is detached, so it is held fixed here
            free = torch.stack([free[:, 0], fixed[:, 1], free[:, 2]], 1)
        return EVERY[name](free, target, counts)

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())


@pytest.mark.parametrize("name", RIDE)
@few
@given(seed=seeds)
def test_ride_gradient_is_that_of_a_frozen_consensus(name: str, seed: int) -> None:
    logits, target, counts = sample(seed, scale=1.0)
    reweighted, individual = name != "ride", name != "ride_collaborative"
    temperature = losses.classwise_temperature(counts, 0.05) if reweighted else torch.ones_like(counts)
    consensus = (logits.mean(1, keepdim=True) / temperature).softmax(-1)

    def frozen(free: Tensor) -> Tensor:
        answers = losses.ride(free, target, counts, diversity=0.0, reweighted=reweighted, individual=individual)
        per_class = consensus * (consensus.log() - (free / temperature).log_softmax(-1))
        return answers - 0.45 * temperature.mean() ** 2 * per_class.sum(-1).mean(0).sum()

    assert torch.autograd.gradcheck(frozen, logits.clone().requires_grad_())
    value, gradient = value_and_gradient(RIDE[name], logits, target, counts)
    expected = value_and_gradient(lambda z, y, n: frozen(z), logits, target, counts)
    torch.testing.assert_close((value, gradient), expected)


@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_balanced_softmax_against_cross_entropy_and_the_scale_of_counts(seed: int, scale: float) -> None:
    logits, target, counts = sample(seed)
    single = logits[:, 0]
    uniform = losses.balanced_softmax(single, target, torch.full((5,), scale))
    torch.testing.assert_close(uniform, losses.cross_entropy(single, target), rtol=1e-6, atol=1e-8)
    balanced = losses.balanced_softmax(single, target, counts)
    torch.testing.assert_close(losses.balanced_softmax(single, target, scale * counts), balanced)
    torch.testing.assert_close(losses.inverse_softmax(single, target, counts, 0.0), balanced)
    torch.testing.assert_close(losses.logit_adjusted(single, target, counts, 1.0), balanced)


@given(seed=seeds, max_margin=st.floats(0, 1), scale=st.floats(0.1, 30))
def test_ldam_is_at_least_cross_entropy_and_equals_it_without_margin(
    seed: int, max_margin: float, scale: float
) -> None:
    logits, target, counts = sample(seed)
    plain = losses.cross_entropy(logits[:, 0], target)
    assert losses.ldam(logits[:, 0], target, counts, max_margin, scale) >= plain - 1e-12
    torch.testing.assert_close(losses.ldam(logits[:, 0], target, counts, 0.0, scale), plain)


@given(seed=seeds)
def test_class_weights_average_by_the_weights_in_the_batch(seed: int) -> None:
    logits, target, counts = sample(seed)
    weight = losses.drw_weights(counts)
    each = torch.stack([losses.ldam(logits[i : i + 1, 0], target[i : i + 1], counts) for i in range(6)])
    expected = (weight[target] * each).sum() / weight[target].sum()
    torch.testing.assert_close(losses.ldam(logits[:, 0], target, counts, class_weight=weight), expected)


any_counts = st.lists(st.integers(0, 10**6), min_size=1, max_size=30).filter(any)


@given(counts=any_counts, gamma=st.floats(0, 0.999), base=st.floats(0.1, 10))
def test_temperature_in_its_range(counts: list[int], gamma: float, base: float) -> None:
    temperature = losses.classwise_temperature(torch.tensor(counts).double(), gamma, base)
    assert (temperature > 0).all()
    assert (temperature <= base).all()
    assert temperature.max() == base
    assert temperature[torch.tensor(counts).argmax()] == base


@given(counts=st.lists(st.integers(1, 10**6), min_size=1, max_size=30))
def test_margins_and_weights_favour_the_rare(counts: list[int]) -> None:
    values = torch.tensor(counts).double()
    order = values.argsort(descending=True)
    margins, weights = losses.ldam_margins(values), losses.drw_weights(values)
    assert (margins[order].diff() >= 0).all()
    assert margins.max() == 0.5
    assert (weights[order].diff() >= -1e-12).all()
    torch.testing.assert_close(weights.sum(), torch.tensor(float(len(counts))).double())


@given(seed=seeds, temperature=st.floats(0.3, 3))
def test_diversity_vanishes_in_agreement_and_is_positive_otherwise(seed: int, temperature: float) -> None:
    logits, _, counts = sample(seed)
    agreeing = logits[:, :1].expand(-1, 3, -1)
    assert losses.diversity_kl(agreeing, temperature).abs().max() < 1e-12
    assert losses.diversity_kl(agreeing, losses.classwise_temperature(counts)).abs().max() < 1e-12
    assert (losses.diversity_kl(logits, temperature) > 0).all()


@given(seed=seeds, expert=st.integers(0, 2))
def test_diversity_gradient_reaches_its_own_expert_only(seed: int, expert: int) -> None:
    logits = sample(seed)[0].requires_grad_()
    gradient = torch.autograd.grad(losses.diversity_kl(logits)[expert], logits)[0]
    others = [e for e in range(3) if e != expert]
    assert (gradient[:, others] == 0).all()
    assert (gradient[:, expert] != 0).any()


@given(seed=seeds, temperature=st.floats(0.3, 5))
def test_distillation_vanishes_at_equality_and_leaves_the_teacher_alone(seed: int, temperature: float) -> None:
    logits = sample(seed)[0]
    student, teacher = logits[:, 0].requires_grad_(), logits[:, 1].requires_grad_()
    assert losses.distillation(student, student, temperature).abs() < 1e-12
    loss = losses.distillation(student, teacher, temperature)
    assert loss > 0
    gradients = torch.autograd.grad(loss, [student, teacher], allow_unused=True)
    assert gradients[0].abs().max() > 0
    assert gradients[1] is None


@given(seed=seeds, detach=st.booleans())
def test_detached_teachers_change_gradients_and_nothing_else(seed: int, detach: bool) -> None:
    logits, target, _ = sample(seed)
    free = logits.clone().requires_grad_()
    one = losses.knowledge_transfer(free, target, detach_teacher=detach)[0]
    two = losses.mutual_kl(free, detach_teacher=detach)[0]
    for term in (one, two):
        gradient = torch.autograd.grad(term, free, retain_graph=True)[0]
        assert bool((gradient[:, 1:] != 0).any()) == (not detach)
    torch.testing.assert_close(one, losses.knowledge_transfer(logits, target)[0])
    torch.testing.assert_close(two, losses.mutual_kl(logits)[0])


@pytest.mark.parametrize("teacher", ["zero", "masked"])
@given(
    seed=seeds,
    values=st.lists(st.floats(-1e30, 1e30), min_size=24, max_size=24),
)
def test_knowledge_transfer_is_finite_for_any_logits(teacher: str, seed: int, values: list[float]) -> None:
    logits = torch.tensor(values, dtype=torch.float32).reshape(2, 3, 4).requires_grad_()
    target = torch.randint(0, 4, (2,), generator=torch.Generator().manual_seed(seed))
    transfer = losses.knowledge_transfer(logits, target, teacher_target_logit=teacher)  # type: ignore[arg-type]
    assert torch.isfinite(transfer).all()
    assert torch.isfinite(torch.autograd.grad(transfer.sum(), logits)[0]).all()


@given(values=st.lists(st.floats(0, 20), min_size=1, max_size=8), mu=st.floats(0.01, 10))
def test_smooth_tchebycheff_bounds_and_weights(values: list[float], mu: float) -> None:
    vector = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    value = losses.smooth_tchebycheff(vector, mu)
    slack = mu * torch.tensor(float(len(values))).double().log()
    assert vector.max() - 1e-9 <= value <= vector.max() + slack + 1e-9
    weights = torch.autograd.grad(value, vector)[0]
    torch.testing.assert_close(weights, (vector.detach() / mu).softmax(0))
    torch.testing.assert_close(losses.smooth_tchebycheff(vector.flip(0), mu), value)
    equal = losses.smooth_tchebycheff(vector[:1].expand(len(values)), mu)
    torch.testing.assert_close(equal, vector[0] + slack)
    assert (losses.smooth_tchebycheff(vector, 1e-6) - vector.max()).abs() < 1e-4
    many = losses.smooth_tchebycheff(vector, 1e7) - 1e7 * torch.tensor(float(len(values))).double().log()
    assert (many - vector.mean()).abs() < 1e-3


def normalise(values: Tensor) -> Tensor:
    return values / values.sum()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in (1, 2))])
@pytest.mark.parametrize("name", PRIOR)
def test_known_joint_each_expert_recovers_the_prior_of_its_loss(name: str, seed: int) -> None:
    joint = random_joint(points=6, classes=4, seed=seed)
    pi = joint.prior
    uniform, inverse = torch.full_like(pi, 0.25), normalise(losses.reverse_by_rank(pi) ** 2)
    stated = {
        "cross_entropy": [pi],
        "balanced_softmax": [uniform],
        "inverse_softmax": [inverse],
        "logit_adjusted": [normalise(pi**0.3)],
        "sade": [pi, uniform, inverse],
        "balpoe": [pi, uniform, normalise(1 / pi)],
        "prl": [pi, uniform, inverse],
    }[name]
    counts = joint.class_counts
    recovered = recover_priors(joint, lambda z, y: PRIOR[name](z, y, counts), experts=len(stated))
    torch.testing.assert_close(recovered, torch.stack(stated), rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(("name", "experts", "steps"), [("ldam_drw", 1, 0), ("ride_reweighted", 3, 300)])
def test_known_joint_margins_agree_with_the_stated_argmax(name: str, experts: int, steps: int, seed: int) -> None:
    joint = random_joint(points=8, classes=4, seed=seed, peak=20)
    counts = joint.class_counts
    stated = joint.posterior(normalise(joint.prior * losses.drw_weights(counts.double())))
    clear = clear_points(stated, majority=True)
    assert clear.sum() >= 6
    table = fit_table(joint, lambda z, y: EVERY[name](z, y, counts), experts, descent_steps=steps, learning_rate=0.3)
    assert (table.argmax(-1)[clear] == stated.argmax(-1)[clear][:, None]).all()


def test_known_joint_class_weights_without_margin_give_the_weighted_prior() -> None:
    joint = random_joint(points=6, classes=4, seed=3)
    weight = losses.drw_weights(joint.class_counts.double())

    def weighted(logits: Tensor, target: Tensor) -> Tensor:
        return losses.ldam(logits[:, 0], target, joint.class_counts, 0.0, class_weight=weight)

    recovered = recover_priors(joint, weighted, experts=1)
    torch.testing.assert_close(recovered[0], normalise(joint.prior * weight), rtol=0, atol=1e-3)
