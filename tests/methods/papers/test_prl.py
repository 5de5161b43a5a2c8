"""PRL: published size, drawn preferences, the variants' losses, preferences at test, resuming."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from methods import papers
from methods.core import recipes
from methods.core.batch import Batch, NetworkSpec
from methods.losses import balpoe_experts, sade_experts, smooth_tchebycheff
from methods.networks.hypernetwork import PreferenceHead
from methods.networks.macs import count_macs, count_parameters
from methods.papers.prl import Prl
from methods.training.loop import build_network
from shifts.common.errors import BadInput
from tests.methods import tiny
from tests.properties.joint import Given

CIFAR100 = NetworkSpec("resnet32", (1,) * 100, (32, 32))
SMALL = NetworkSpec("resnet8", (9, 5, 2), (16, 16))
VARIANTS = ("paper", "released", "preference_weighted")
CENTRE = torch.full((3,), 1 / 3)


def batch_of(seed: int, mixup: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images, target = torch.rand(8, 3, 16, 16, generator=generator), torch.randint(0, 3, (8,), generator=generator)
    counts = torch.tensor([9.0, 5, 2])
    partner, share = (target.flip(0), torch.tensor(0.3)) if mixup else (None, None)
    return Batch(images, target, counts, partner, share, generator=generator)


@pytest.mark.parametrize("variant", VARIANTS)
def test_published_size(variant: str) -> None:
    network = papers.get(f"prl:variant={variant}").network(CIFAR100)
    assert count_parameters(network) == 3_853_203
    parts = {name: count_parameters(part) for name, part in network.head.named_children()}  # type: ignore[union-attr, operator]
    assert parts == {"mlp": 512 + 2 * 16_512, "generate": 129 * 3 * 64 * 100}
    hidden = 3 * 128 + 2 * 128 * 128 + 128 * 19_200
    balpoe = count_macs(papers.get("balpoe").network(CIFAR100), (32, 32))
    assert count_macs(network, (32, 32)) == balpoe + hidden


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_a_preference_the_centre_answers_from_features_alone(variant: str) -> None:
    network = Prl(variant=variant).network(SMALL).eval()  # type: ignore[arg-type]
    images = batch_of(0).images
    output = network(images)
    assert output.logits.shape == (8, 3, 3)
    assert output.features.shape == (8, 3, 64)
    centre = torch.zeros(3) if variant == "released" else CENTRE
    for found in (network.head_logits(output.features, centre), network(images, centre).logits):
        torch.testing.assert_close(found, output.logits)
    corner = network.head_logits(output.features, torch.tensor([1.0, 0, 0]))
    assert (corner - output.logits).abs().max() > 1e-3
    by_expert = network.head_logits(output.features, torch.eye(3))
    torch.testing.assert_close(by_expert[:, 0], corner[:, 0])


def test_inputs_of_the_hypernetwork() -> None:
    product, scaled = PreferenceHead(3, 4, 5), PreferenceHead(3, 4, 5, "sum")
    torch.testing.assert_close(product.preference, torch.ones(3))
    torch.testing.assert_close(product.point(CENTRE), CENTRE)
    assert torch.equal(scaled.point(scaled.centre()), torch.zeros(3))  # all equal: nothing to scale
    r = torch.tensor([0.5, 1.0, 2.0])
    for head in (product, scaled):
        head.free.data = r.expm1().log()
    alpha = torch.tensor([0.2, 0.3, 0.5])
    torch.testing.assert_close(product.point(alpha), torch.tensor([0.1, 0.3, 1.0]) / 1.4)
    torch.testing.assert_close(scaled.point(alpha), torch.tensor([0.0, 0.6, 1.8]) / 1.8)
    torch.testing.assert_close(scaled.point(scaled.centre()), torch.tensor([0.0, 0.5, 1.5]) / 1.5)


@pytest.mark.parametrize("wrong", [torch.ones(2), torch.ones(2, 3), torch.tensor([1.0, -0.1, 0.1]), torch.zeros(3)])
def test_preferences_that_make_no_sense_are_refused(wrong: Tensor) -> None:
    with pytest.raises(ValueError, match="preference must"):
        PreferenceHead(3, 4, 5)(torch.ones(1, 3, 4), wrong)


def test_a_prior_needs_a_preference_over_three_experts() -> None:
    method, counts = Prl(variant="preference_weighted"), np.array([30, 5])
    for wrong, said in (([1.0, 1.0], "3 weights"), ([1, -0.1, 0.1], "non-negative"), ([0.0, 0, 0], "non-negative")):
        with pytest.raises(ValueError, match=said):
            method.expert_priors(counts, wrong)


@pytest.mark.parametrize("variant", VARIANTS)
def test_drawn_preferences_are_dirichlet_and_repeat(variant: str) -> None:
    method = Prl(variant=variant)  # type: ignore[arg-type]
    batch = batch_of(0)
    drawn = torch.stack([method.draw(batch) for _ in range(4000)])
    assert torch.equal(method.draw(batch_of(1)), method.draw(batch_of(1)))
    torch.testing.assert_close(drawn.sum(-1), torch.ones(drawn.shape[:-1]))
    beta = {
        "paper": torch.tensor([[3.6, 1.2, 1.2], [1.2, 1.2, 1.2], [1.2, 3.6, 3.6]]),
        "released": torch.full((3, 3), 0.5),
        "preference_weighted": torch.full((3,), 1.2),
    }[variant]
    total = beta.sum(-1, keepdim=True)
    torch.testing.assert_close(drawn.mean(0), beta / total, rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.var(0), beta * (total - beta) / total**2 / (total + 1), rtol=0.15, atol=0)
    if variant != "preference_weighted":
        assert abs(torch.corrcoef(drawn[:, :2, 0].T)[0, 1]) < 0.06


def test_experts_are_mixed_before_they_are_scalarised() -> None:
    batch = batch_of(0, mixup=True)
    logits = 3 * torch.randn(8, 3, 3, generator=torch.Generator().manual_seed(3))
    assert batch.partner is not None

    def mixed(losses: Tensor, others: Tensor) -> Tensor:
        return 0.3 * losses + 0.7 * others

    sade = mixed(*(sade_experts(logits, target, batch.counts) for target in (batch.target, batch.partner)))
    paper = Prl(mu=0.3).step(Given(logits), [batch], 0)["loss"]
    torch.testing.assert_close(paper, sade.sum() + smooth_tchebycheff(sade, 0.3))
    balpoe = mixed(*(balpoe_experts(logits, target, batch.counts) for target in (batch.target, batch.partner)))
    released = Prl(variant="released").step(Given(logits), [batch], 0)["loss"]
    torch.testing.assert_close(released, 2 / 3 * balpoe.sum())


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_trained(variant: str) -> None:
    method = Prl(variant=variant)  # type: ignore[arg-type]
    (stage,) = method.stages(recipes.PUBLISHED)
    assert (stage.epochs, stage.optimiser.lr, stage.optimiser.nesterov, stage.mixup) == (200, 0.1, True, 0.4)
    network = method.network(SMALL)
    frozen = {name for name, _ in network.named_parameters() if not stage.trainable(name)}
    assert frozen == ({"head.free"} if variant == "preference_weighted" else set())
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(stage.trainable(name))
    stage.step(network, [batch_of(0, mixup=True)], 0)["loss"].backward()
    for name, parameter in network.named_parameters():
        if name not in frozen:
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_draws_the_same_preferences(variant: str, tmp_path: Path) -> None:
    method, settings = Prl(variant=variant), replace(tiny.RECIPE, epochs=3, lr=0.05)  # type: ignore[arg-type]
    undisturbed = tiny.run(method, tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        tiny.run(method, tmp_path / "killed", settings, tiny.crash_after("experts", 2))
    resumed = tiny.run(method, tmp_path / "killed", settings)
    assert resumed.losses == undisturbed.losses
    expected = undisturbed.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.network.state_dict().items())
    assert all(value.isfinite().all() for value in expected.values())
    start = build_network(method, NetworkSpec("resnet8", tiny.COUNTS, (8, 8)), 1).state_dict()["head.free"]
    assert torch.equal(start, expected["head.free"]) == (variant == "preference_weighted")


@pytest.mark.parametrize(
    "text", ["prl:mu=0", "prl:equal=0", "prl:raised=-1", "prl:mixup=-0.1", "prl:variant=printed", "prl:lam=1"]
)
def test_options_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        papers.get(text)
