"""What a step does to the weights: learning rate, warm-up by steps, clipping, momentum, weight decay."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.core.batch import Batch
from methods.core.stage import Schedule, Sgd
from tests.methods import tiny
from tests.methods.probe import Probe, fit, settings_of


def test_each_epoch_has_the_learning_rate_of_its_schedule(tmp_path: Path) -> None:
    rates = Schedule(2, (3, 4), (0.5, 0.25))
    plain = Sgd(lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0)
    worth: list[float] = []

    def loss(network: nn.Module, batch: Batch, epoch: int) -> Tensor:
        worth.append(float(network.weight[0].detach()))  # type: ignore[index]
        return network.weight.sum()  # type: ignore[operator]

    fit(Probe(loss, form=settings_of(schedule=rates, optimiser=plain, epochs=6, batch_size=45)), tmp_path)
    steps = -np.diff(worth) / 0.01
    np.testing.assert_allclose(steps, [0.5, 1, 1, 0.5, 0.25], rtol=1e-4)


def test_warm_up_by_steps_rises_within_epochs_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    plain = Sgd(lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0)
    rates = Schedule(0, (2, 3), (0.5, 0.25))
    form = settings_of(schedule=rates, optimiser=plain, epochs=4, batch_size=15, warmup_steps=4)
    worth: list[float] = []

    def loss(network: nn.Module, batch: Batch, epoch: int) -> Tensor:
        worth.append(float(network.weight[0].detach()))  # type: ignore[index]
        return network.weight.sum()  # type: ignore[operator]

    with pytest.raises(KeyboardInterrupt):
        fit(Probe(loss, form=form), tmp_path, progress=tiny.crash_after("experts", 1))
    fit(Probe(loss, form=form), tmp_path)
    steps = -np.diff(worth) / 0.01
    # 1/3 + 2/3 of the way to step 4, three steps an epoch; then the schedule alone
    np.testing.assert_allclose(steps[:6], [1 / 3, 1 / 2, 2 / 3, 5 / 6, 1, 1], rtol=1e-4)
    np.testing.assert_allclose(steps[6:], [0.5, 0.5, 0.5, 0.25, 0.25], rtol=1e-4)


@pytest.mark.parametrize(("clip", "norm"), [(0.0, 2.0), (0.5, 0.5), (3.0, 2.0)])
def test_gradients_are_clipped_to_their_norm(clip: float, norm: float, tmp_path: Path) -> None:
    plain = Sgd(lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0, clip=clip)
    form = settings_of(schedule=Schedule(0, (9, 9), (1, 1)), optimiser=plain, epochs=2, batch_size=45)
    network = fit(Probe(lambda network, batch, epoch: network.weight.sum(), form=form), tmp_path).network
    # a gradient of ones over four weights has norm 2
    torch.testing.assert_close(network.weight.detach(), torch.full((4,), 1 - 2 * 0.01 * norm / 2))  # type: ignore[operator]


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_and_weight_decay_of_every_parameter_are_sgds(nesterov: bool, tmp_path: Path) -> None:
    settings = Sgd(lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.01)
    form = settings_of(schedule=Schedule(0, (9, 9), (1, 1)), optimiser=settings, epochs=4, batch_size=45)
    network = fit(Probe(form=form), tmp_path).network
    value, velocity = 1.0, 0.0
    for _ in range(4):
        gradient = 0.01 * value
        velocity = 0.9 * velocity + gradient
        value -= 0.1 * (gradient + 0.9 * velocity if nesterov else velocity)
    torch.testing.assert_close(network.weight.detach(), torch.full((4,), value))  # type: ignore[operator]
    torch.testing.assert_close(network.norm.weight.detach(), torch.full((3,), value))  # type: ignore[union-attr, operator]
