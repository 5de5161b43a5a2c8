"""Samplers: what the loop drew before there were any, and the class-balanced one's frequencies and cycles."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Int
from torch import Tensor, nn

from methods.core.batch import Batch, NetworkSpec
from methods.core.method import Method
from methods.core.priors import ExpertPriors, normalise
from methods.core.recipe import Recipe
from methods.core.samplers import Sampler, class_aware, class_balanced, instance
from methods.core.stage import Augmentation, Stage
from methods.networks.cifar_resnet import expert_resnet
from methods.papers.softmax import Softmax
from methods.pixels.augment import random_geometry, to_float, transform
from methods.training.loop import build_network, derived_seed
from tests.methods import tiny


@dataclass(frozen=True)
class Probe(Method):
    """One stage for each of `forms`; keeps the batches that its steps get."""

    seen: list[Sequence[Batch]]
    forms: Sequence[Stage]

    def expert_priors(
        self, counts: Int[np.ndarray, " classes"], preference: Sequence[float] | None = None
    ) -> ExpertPriors:
        return ExpertPriors(normalise(counts)[None], exact=True)

    def network(self, spec: NetworkSpec) -> nn.Module:
        return expert_resnet(spec, experts=1, reduced=True)

    def stages(self, recipe: Recipe) -> list[Stage]:
        return [replace(form, step=self.step) for form in self.forms]

    def step(self, network: nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
        self.seen.append(batches)
        head = dict(network.named_parameters())["heads.0.weight"]
        return {"loss": head.sum() * 0}


def form(**changes: object) -> Stage:
    return replace(tiny.RECIPE.stage(lambda network, batches, epoch: {}), **changes)  # type: ignore[arg-type]


def generator_of(epoch: int, stage: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed("epoch", 1, stage, epoch))


def test_instance_is_a_random_permutation_and_draws_nothing_else() -> None:
    labels, counts = torch.zeros(1000, dtype=torch.int64), torch.tensor([1000.0])
    ours, plain = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    assert torch.equal(instance(labels, counts, ours), torch.randperm(1000, generator=plain))
    assert torch.equal(ours.get_state(), plain.get_state())


def test_a_stage_without_options_trains_as_a_plain_loop_does(tmp_path: Path) -> None:
    """The loop written out: permutation, then each batch's geometry; SGD; bit for bit."""
    data, method = tiny.images(), Softmax()
    (stage,) = method.stages(tiny.RECIPE)
    spec = NetworkSpec("resnet8", tiny.COUNTS, (8, 8))
    network = build_network(method, spec, 1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    settings = stage.optimiser
    sgd = torch.optim.SGD(
        network.parameters(),
        settings.lr,
        settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
        fused=True,
    )
    for epoch in range(stage.epochs):
        sgd.param_groups[0]["lr"] = settings.lr * stage.schedule.factor(epoch)
        generator = generator_of(epoch)
        for rows in torch.randperm(len(data.labels), generator=generator).split(stage.batch_size):
            geometry = random_geometry(len(rows), Augmentation(), generator)
            images = to_float(transform(data.images[rows], geometry, 4), data.mean, data.std)
            sgd.zero_grad()
            stage.step(network, [Batch(images, data.labels[rows], data.counts)], epoch)["loss"].backward()
            sgd.step()
    trained = tiny.run(method, tmp_path / "resume").network.state_dict()
    assert all(torch.equal(trained[name], value) for name, value in network.state_dict().items())


def test_each_sampler_gives_the_step_a_batch(tmp_path: Path) -> None:
    probe = Probe([], [form(samplers=(instance, class_balanced), epochs=1)])
    tiny.run(probe, tmp_path / "resume")
    data, generator = tiny.images(), generator_of(0)
    orders = [sampler(data.labels, data.counts, generator) for sampler in (instance, class_balanced)]
    for order, batches in zip(orders, zip(*probe.seen, strict=True), strict=True):
        assert torch.equal(torch.cat([batch.target for batch in batches]), data.labels[order])


def test_a_cached_stage_gives_the_frozen_networks_output_of_one_augmented_pass(tmp_path: Path) -> None:
    cached = form(cached=True, freeze=True, trainable=lambda name: name.startswith("heads."), epochs=2)
    probe = Probe([], [cached])
    spec = NetworkSpec("resnet8", tiny.COUNTS, (8, 8))
    initial = build_network(probe, spec, 1)
    trained = tiny.run(probe, tmp_path / "resume").network
    for name, buffer in initial.named_buffers():
        assert torch.equal(dict(trained.named_buffers())[name], buffer)

    data, steps = tiny.images(), len(probe.seen) // 2
    for epoch in range(2):
        generator = generator_of(epoch)
        order = instance(data.labels, data.counts, generator)
        images = []
        for rows in torch.arange(len(order)).split(16):
            geometry = random_geometry(len(rows), Augmentation(), generator)
            images.append(to_float(transform(data.images[rows], geometry, 4), data.mean, data.std))
        with torch.no_grad():
            expected = initial.eval()(torch.cat(images))
        batches = [batch for (batch,) in probe.seen[epoch * steps : (epoch + 1) * steps]]
        assert all(len(batch.images) == 0 and batch.output is not None for batch in batches)
        features = torch.cat([batch.output.features for batch in batches if batch.output is not None])
        torch.testing.assert_close(features, expected.features[order])
        assert torch.equal(torch.cat([batch.target for batch in batches]), data.labels[order])


@pytest.mark.parametrize("counts", [(500, 200, 60, 5), (300, 0, 40, 1, 0, 7)])
def test_class_balanced_draws_classes_uniformly_within_statistical_bounds(counts: tuple[int, ...]) -> None:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    generator = torch.Generator().manual_seed(0)
    epochs = 40
    order = torch.cat([class_balanced(labels, torch.tensor(counts).float(), generator) for _ in range(epochs)])
    assert len(order) == epochs * len(labels)
    drawn = torch.bincount(labels[order], minlength=len(counts)).double()
    present = torch.tensor(counts) > 0
    share = 1 / int(present.sum())
    spread = (len(order) * share * (1 - share)) ** 0.5
    assert not drawn[~present].any()
    assert ((drawn[present] - len(order) * share).abs() < 5 * spread).all()
    # classes come independently of each other: equal neighbours are as frequent as chance has it
    equal = (labels[order][1:] == labels[order][:-1]).double().mean()
    assert abs(float(equal) - share) < 5 * (share * (1 - share) / len(order)) ** 0.5
    assert len(order.unique()) == len(labels)


def label_sets(counts: Sequence[int], images: int) -> Tensor:
    """Label sets [images, C] of these label counts; labels fall on images independently of one another."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(images, len(counts), dtype=torch.uint8)
    for label, count in enumerate(counts):
        labels[torch.randperm(images, generator=generator)[:count], label] = 1
    return labels


@pytest.mark.parametrize("counts", [(250, 120, 40, 5), (200, 0, 60, 1, 7)])
def test_class_aware_draws_every_image_as_often_as_its_labels_say(counts: tuple[int, ...]) -> None:
    """The expected share of an image is the sum over its labels of (1/K) (1/N_k), K labels that there are."""
    labels, generator = label_sets(counts, 300), torch.Generator().manual_seed(0)
    epochs = 60
    order = torch.cat([class_aware(labels, labels.sum(0).float(), generator) for _ in range(epochs)])
    assert len(order) == epochs * 300
    present = torch.tensor(counts) > 0
    share = (labels[:, present].double() / labels[:, present].sum(0)).sum(1) / int(present.sum())
    assert float(share.sum()) == pytest.approx(1)
    drawn = torch.bincount(order, minlength=300)
    assert not drawn[share == 0].any()
    spread = (len(order) * share * (1 - share)).sqrt()
    assert ((drawn - len(order) * share).abs() <= 5 * spread).all()
    # of each label: more often than its own share where it comes with others
    expected = (share[:, None] * labels).sum(0)
    found = labels[order].double().mean(0)
    bound = 5 * (expected * (1 - expected) / len(order)).sqrt()
    assert ((found - expected).abs() <= bound).all()
    assert (found[present] > 0.9 / int(present.sum())).all()


def test_class_aware_goes_through_all_images_of_a_label_before_it_repeats_one() -> None:
    labels = torch.eye(2, dtype=torch.uint8).repeat_interleave(torch.tensor([60, 4]), 0)
    order = class_aware(labels, labels.sum(0).float(), torch.Generator().manual_seed(0))
    frequent, rare = order[order < 60], order[order >= 60]
    assert len(frequent.unique()) == len(frequent)
    assert len(rare) > 20
    assert all(set(part.tolist()) == {60, 61, 62, 63} for part in rare.split(4)[:-1])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("sampler", [instance, class_balanced, class_aware])
def test_samplers_never_make_the_host_wait(sampler: Sampler) -> None:
    device = torch.device("cuda")
    labels = torch.arange(4, device=device).repeat_interleave(torch.tensor(tiny.COUNTS, device=device))
    if sampler is class_aware:
        labels = torch.eye(4, dtype=torch.uint8, device=device)[labels]
    counts, generator = torch.tensor(tiny.COUNTS, device=device).float(), torch.Generator(device).manual_seed(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        order = sampler(labels, counts, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert order.device.type == "cuda"
    assert len(order) == len(labels)


@pytest.mark.parametrize("bad", [{"cached": True}, {"cached": True, "freeze": True, "mixup": 0.4}, {"samplers": ()}])
def test_a_stage_that_cannot_work_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="needs a sampler"):
        form(**bad)
