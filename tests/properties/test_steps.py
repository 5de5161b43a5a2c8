"""Known joint: what the last of several stages recovers, and any list of taus."""

import numpy as np
import pytest
import torch

from methods import papers
from methods.core.batch import NetworkSpec
from methods.core.priors import normalise, reverse_by_rank
from methods.core.recipes import QUICK
from tests.properties.joint import loss_of, random_joint, recover_priors

SEVEN = "balpoe:mixup=0,tau=0/0.5/1/1.5/2/2.5/3"


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", [SEVEN, "balpoe:mixup=0,tau=1", "sade:tau=3", "shike"])
def test_the_last_stage_recovers_the_stated_priors(name: str, seed: int) -> None:
    method, joint = papers.get(name), random_joint(points=6, classes=4, seed=seed)
    stated = method.expert_priors(joint.class_counts.numpy())
    assert stated.exact
    loss = loss_of(method.stages(QUICK)[-1].step, joint.class_counts)
    recovered = recover_priors(joint, loss, experts=len(stated.values))
    torch.testing.assert_close(recovered, torch.from_numpy(stated.values), rtol=0, atol=1e-3)


def test_taus_set_the_number_of_experts_and_their_priors() -> None:
    counts = np.array([60, 20, 5])
    pi = normalise(counts)
    taus = [0, 0.5, 1, 1.5, 2, 2.5, 3]
    for name in (SEVEN, "balpoe:tau=0/0.5/1/1.5/2/2.5/3"):
        method = papers.get(name)
        network = method.network(NetworkSpec("resnet8", (60, 20, 5), (16, 16))).eval()
        assert network(torch.rand(2, 3, 16, 16)).logits.shape == (2, 7, 3)
        priors = method.expert_priors(counts)
        np.testing.assert_allclose(priors.values, [normalise(pi ** (1 - tau)) for tau in taus])
        assert priors.exact == (name == SEVEN)
    backward = papers.get("sade:tau=3").expert_priors(counts).values[2]
    np.testing.assert_allclose(backward, normalise(reverse_by_rank(pi) ** 3))
