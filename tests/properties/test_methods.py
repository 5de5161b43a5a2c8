"""Fitted on a known joint distribution through its own training step, a method's experts answer for their priors."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods import papers
from methods.core.batch import Batch, ExpertOutput
from methods.core.method import Method
from methods.core.recipes import PUBLISHED
from methods.core.stage import Stage
from methods.papers.logit_adjusted import PostHocAdjusted
from tests.properties.joint import Joint, clear_points, fit_table, priors_of, random_joint

EXACT = (
    "softmax",
    "balanced_softmax",
    "logit_adjusted",
    "logit_adjusted:tau=0.5",
    "sade",
    "sade:tau=1",
    "balpoe:mixup=0",
    "balpoe:mixup=0,tau=0.5/1.5",
)


class Table(nn.Module):
    """In place of a CNN: images are row numbers of expert logits [B, E, C]."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> ExpertOutput:
        logits = self.logits[images]
        return ExpertOutput(logits, logits.new_zeros(*logits.shape[:2], 1))


def stated(method: Method, joint: Joint) -> Tensor:
    return torch.from_numpy(method.expert_priors(joint.class_counts.numpy()).values)


def fitted(stage: Stage, joint: Joint, experts: int, epoch: int, steps: int = 0) -> Tensor:
    """Logits [M, E, C] that minimise the stage's loss in `epoch` on the batch that is the joint."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        batch = Batch(torch.arange(len(target)), target, joint.class_counts.float())
        return stage.step(Table(logits), [batch], epoch)["loss"]

    return fit_table(joint, loss, experts, descent_steps=steps, learning_rate=0.3)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", EXACT)
def test_each_expert_recovers_the_prior_that_its_method_states(name: str, seed: int) -> None:
    method, joint = papers.get(name), random_joint(points=6, classes=4, seed=seed)
    (stage,) = method.stages(PUBLISHED)
    priors = stated(method, joint)
    assert method.expert_priors(joint.class_counts.numpy()).exact
    table = fitted(stage, joint, len(priors), epoch=0)
    torch.testing.assert_close(priors_of(joint, table), priors, rtol=0, atol=1e-3)
    torch.testing.assert_close(table.softmax(-1).transpose(0, 1), joint.posterior(priors), rtol=0, atol=1e-3)


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_the_post_hoc_form_trains_plainly_and_answers_for_the_same_prior_in_evaluation(tau: float) -> None:
    method, joint = papers.get(f"logit_adjusted:posthoc=true,tau={tau}"), random_joint(points=6, classes=4, seed=0)
    (stage,) = method.stages(PUBLISHED)
    table = fitted(stage, joint, 1, epoch=0)
    torch.testing.assert_close(priors_of(joint, table)[0], joint.prior, rtol=0, atol=1e-3)
    network = PostHocAdjusted(Table(table), joint.class_counts.tolist(), tau)
    rows = torch.arange(6)
    assert torch.equal(network.train()(rows).logits, table)
    adjusted = network.eval()(rows).logits
    torch.testing.assert_close(priors_of(joint, adjusted), stated(method, joint), rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(("name", "experts", "steps"), [("ldam_drw", 1, 0), ("ride", 3, 300)])
def test_reweighted_margins_agree_with_the_stated_argmax(name: str, experts: int, steps: int, seed: int) -> None:
    method, joint = papers.get(name), random_joint(points=8, classes=4, seed=seed, peak=20)
    assert not method.expert_priors(joint.class_counts.numpy()).exact
    posterior = joint.posterior(stated(method, joint))
    clear = clear_points(posterior, majority=True)
    assert (clear.sum(1) >= 6).all()
    table = fitted(method.stages(PUBLISHED)[0], joint, experts, epoch=160, steps=steps)
    for expert in range(experts):
        found = table[:, expert].argmax(-1)
        assert torch.equal(found[clear[expert]], posterior[expert].argmax(-1)[clear[expert]])


def test_ldams_weights_are_on_from_the_first_milestone_only() -> None:
    """With margins off and a loss that differs by class, the two phases recover pi and pi * w."""
    method, joint = papers.get("ldam_drw:max_margin=0"), random_joint(points=6, classes=4, seed=0)
    (stage,) = method.stages(PUBLISHED)
    for epoch, prior in ((0, joint.prior), (159, joint.prior), (160, stated(method, joint)[0])):
        found = priors_of(joint, fitted(stage, joint, 1, epoch))[0]
        torch.testing.assert_close(found, prior, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", EXACT)
def test_mixup_of_equal_labels_is_the_plain_loss_and_otherwise_the_expected_one(name: str) -> None:
    (stage,) = papers.get(name).stages(PUBLISHED)
    experts = len(papers.get(name).expert_priors(np.array([3, 2, 1])).values)
    generator = torch.Generator().manual_seed(0)
    network = Table(torch.randn(7, experts, 3, generator=generator))
    images, counts = torch.arange(7), torch.tensor([30.0, 20.0, 5.0])
    one, other = torch.randint(0, 3, (2, 7), generator=generator)

    def loss(target: Tensor, partner: Tensor | None = None, share: float | None = None) -> Tensor:
        mixed = None if share is None else torch.tensor(share)
        return stage.step(network, [Batch(images, target, counts, partner, mixed)], 0)["loss"]

    torch.testing.assert_close(loss(one, one, 0.3), loss(one))
    torch.testing.assert_close(loss(one, other, 0.3), 0.3 * loss(one) + 0.7 * loss(other))
