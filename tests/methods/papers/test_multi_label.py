"""Methods for label sets: their networks, steps, samplers and options, and training them through the loop."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from methods import losses, papers
from methods.core.batch import Batch, ExpertOutput, NetworkSpec
from methods.core.method import Method
from methods.core.recipe import Recipe
from methods.core.samplers import class_aware, instance
from methods.core.stage import Stage
from methods.jobs.arguments import add_training_arguments
from methods.jobs.request import TrainingRequest
from methods.papers.label_sets.ltml import Compensated, Ltml
from methods.pixels.augment import to_float
from methods.pixels.data import TrainingImages
from methods.train import main
from methods.training.checkpoint import describe, load_tensors
from methods.training.loop import build_network, train
from shifts.common.errors import BadInput
from shifts.common.requests import request_of
from shifts.sets.arguments import add_data_arguments
from shifts.sets.request import DataRequest
from tests.methods import tiny
from tests.methods.pixels.test_streaming import streamed_images

NAMES = papers.of_task("multi_label")
ABLATION = {
    "ltml:branches=uniform,compensation=false": 1,
    "ltml:branches=rebalanced,compensation=false": 1,
    "ltml:compensation=false,consistency=0": 2,
    "ltml:compensation=false": 2,
    "ltml": 2,
}
SPEC = NetworkSpec("resnet8", (23, 15, 12, 9), (8, 8))
RECIPE = Recipe("tiny", backbone="resnet8", epochs=2, batch_size=16, warmup=0, milestones=(1, 2))


def fixed_batches(number: int) -> list[Batch]:
    """The first images of the tiny label sets, once for each sampler, with other rows each."""
    data = tiny.label_sets()
    rows = [slice(16 * i, 16 * (i + 1)) for i in range(number)]
    return [
        Batch(
            to_float(data.images[chosen], data.mean, data.std),
            data.labels[chosen].float(),
            data.counts,
            population=len(data.labels),
        )
        for chosen in rows
    ]


class Table(nn.Module):
    """In place of a CNN: images [B, 1, 1, 1] are row numbers of logits [B, E, C]."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> ExpertOutput:
        logits = self.logits[images.flatten().long()]
        return ExpertOutput(logits, logits.new_zeros(*logits.shape[:2], 1))


def table_batches(number: int) -> list[Batch]:
    batches = fixed_batches(number)
    return [
        replace(batch, images=torch.arange(16 * i, 16 * (i + 1)).view(-1, 1, 1, 1).float())
        for i, batch in enumerate(batches)
    ]


def test_there_are_the_baselines_and_ltml() -> None:
    assert NAMES == ["bce", "resampled_bce", "focal", "class_balanced_focal", "distribution_balanced", "ltml"]
    assert set(papers.of_task("single_label")) | set(NAMES) == set(papers.METHODS)


@pytest.mark.parametrize(("name", "branches"), [*((name, 1) for name in NAMES[:-1]), *ABLATION.items()])
def test_raw_logits_of_every_branch_and_as_many_marginals(name: str, branches: int) -> None:
    method = papers.get(name)
    output = method.network(SPEC).eval()(torch.randn(3, 3, 8, 8))
    assert output.logits.shape == (3, branches, 4)
    priors = method.expert_priors(np.array(SPEC.counts))
    np.testing.assert_allclose(priors.values, np.tile(np.array(SPEC.counts) / 59, (branches, 1)))
    assert not priors.exact


# Networks


@pytest.mark.parametrize("backbone", ["resnet8", "resnet14", "resnet10"])
def test_branches_share_all_but_the_last_stage(backbone: str) -> None:
    network = Ltml().network(replace(SPEC, backbone=backbone, image_size=(32, 32))).eval()
    images = torch.randn(2, 3, 32, 32)
    before = network(images)
    shared = network.shared(network.stem(images))
    assert len(network.branches) == 2
    assert shared.shape[1:] == {"resnet10": (256, 2, 2)}.get(backbone, (32, 16, 16))
    with torch.no_grad():
        for parameter in network.branches[1].parameters():
            parameter.add_(0.1)
    after = network(images)
    assert torch.equal(before.logits[:, 0], after.logits[:, 0])
    assert not torch.equal(before.logits[:, 1], after.logits[:, 1])


def test_branches_are_the_backbones_own_last_stage() -> None:
    """Sharing the second stage too leaves a path through the network as deep as that of one branch."""
    alone, split = (papers.get(name).network(SPEC) for name in ("bce", "ltml:branches=uniform"))
    assert sum(p.numel() for p in alone.parameters()) == sum(p.numel() for p in split.parameters())


def test_heads_start_near_one_half() -> None:
    torch.manual_seed(0)
    for name in ("bce", "ltml"):
        network = papers.get(name).network(replace(SPEC, image_size=(32, 32))).eval()
        assert network(torch.randn(4, 3, 32, 32)).logits.abs().max() < 1
        assert not network.heads[0].bias.any()


# LTML's step


def test_two_branches_own_and_cross_terms() -> None:
    batches, generator = table_batches(2), torch.Generator().manual_seed(0)
    network = Table(torch.randn(32, 2, 4, generator=generator))
    z = network.logits
    terms = [
        losses.weighted_binary_cross_entropy(z[16 * i : 16 * (i + 1), i], batch.target, batch.counts, 45)
        for i, batch in enumerate(batches)
    ]
    apart = [losses.logit_consistency(z[rows, 0], z[rows, 1]) for rows in (slice(0, 16), slice(16, 32))]
    for weight in (0.0, 0.1, 2.0):
        method = Ltml(consistency=weight, compensation=False)
        found = method.step(network, batches, 0)
        torch.testing.assert_close(found["loss"], sum(terms) + weight * sum(apart))
        torch.testing.assert_close(found["consistency"], sum(apart))


@pytest.mark.parametrize(("branches", "sampler"), [("uniform", instance), ("rebalanced", class_aware)])
def test_one_branch_is_the_weighted_loss_on_its_own_stream(branches: str, sampler: object) -> None:
    method = papers.get(f"ltml:branches={branches},compensation=false")
    (stage,) = method.stages(RECIPE)
    assert stage.samplers == (sampler,)
    (batch,) = table_batches(1)
    network = Table(torch.randn(16, 1, 4, generator=torch.Generator().manual_seed(0)))
    plain = losses.weighted_binary_cross_entropy(network.logits[:, 0], batch.target, batch.counts, 45)
    found = stage.step(network, [batch], 0)
    assert set(found) == {"loss"}
    torch.testing.assert_close(found["loss"], plain)


def test_two_streams_and_half_the_learning_rate() -> None:
    (stage,) = Ltml().stages(RECIPE)
    assert stage.samplers == (instance, class_aware)
    assert stage.optimiser.lr == RECIPE.lr / 2


def compensated(network: nn.Module) -> Compensated:
    return Compensated(network, 2, 4, rate=1.0)


def test_compensation_starts_neutral_and_every_part_of_it_is_trained() -> None:
    batches = table_batches(2)
    logits = torch.randn(32, 2, 4, generator=torch.Generator().manual_seed(0))
    network = compensated(Table(logits))
    neutral = Ltml().step(network, batches, 0)["loss"]
    torch.testing.assert_close(neutral, Ltml(compensation=False).step(Table(logits), batches, 0)["loss"])
    neutral.backward()
    for parameter in (network.means, network.scales):
        assert parameter.shape == (2, 2, 4)
        assert parameter.grad is not None
        assert (parameter.grad != 0).all()
    assert 2 * network.means.numel() == 2 * 4 * 4  # 4K a branch, K = 4


def test_compensation_moves_the_branch_the_kind_and_the_class_that_it_is_of() -> None:
    (batch, other), network = table_batches(2), compensated(Table(torch.zeros(32, 2, 4)))
    with torch.no_grad():
        network.means[0, 0, 1] = 3.0  # uniform branch, labels that are there, class 1
    moved = Ltml().step(network, [batch, other], 0)["loss"]
    gains = batch.target[:, 1] * np.exp(1 - float(batch.counts[1]) / 45)
    expected = (gains * (np.log(2) - np.log1p(np.exp(-3)))).sum() / (16 * 4)
    network.means.data.zero_()
    torch.testing.assert_close(Ltml().step(network, [batch, other], 0)["loss"] - moved, expected.float())


def test_compensation_learns_at_its_share_of_the_learning_rate() -> None:
    (batch, other), moves = table_batches(2), []
    for rate in (1.0, 0.25):
        network = Compensated(Table(torch.zeros(32, 2, 4)), 2, 4, rate)
        Ltml().step(network, [batch, other], 0)["loss"].backward()
        torch.optim.SGD([network.means], lr=0.1).step()
        moves.append(network.compensation(0).positive_shift.detach())
    assert (moves[0] > 0).all()
    torch.testing.assert_close(moves[1], moves[0] / 4)


def test_compensation_is_dropped_after_training(tmp_path: Path) -> None:
    trained = fit(Ltml(), tmp_path)
    assert trained.network.state_dict().keys() == Ltml().network(SPEC).state_dict().keys()
    tensors, _ = load_tensors(tmp_path / "run.safetensors")
    means, scales = tensors["network.means"], tensors["network.scales"]
    assert means.any(dim=-1).all()
    assert scales.any(dim=-1).all()
    assert not any(
        "means" in name for name in fit(papers.get("ltml:compensation=false"), tmp_path / "b").network.state_dict()
    )


# Training


def fit(method: Method, folder: Path, recipe: Recipe = RECIPE, data: TrainingImages | None = None, **options: object):  # type: ignore[no-untyped-def]
    images = tiny.label_sets() if data is None else data
    return train(method, recipe, images, 1, resume=folder / "run.safetensors", key="key", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*NAMES, *list(ABLATION)[:-1]])
def test_steps_on_a_fixed_batch_lower_the_loss(name: str) -> None:
    method = papers.get(name)
    (stage,) = method.stages(RECIPE)
    batches = fixed_batches(len(stage.samplers))
    network = build_network(method, SPEC, 0, training=True).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    values = []
    for _ in range(2):
        optimiser.zero_grad()
        loss = stage.step(network, batches, 0)["loss"]
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    assert values[1] < values[0]


@pytest.mark.parametrize(
    "name", [*NAMES, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in ABLATION if n != "ltml")]
)
def test_label_sets_are_learnt_through_the_loop(name: str, tmp_path: Path) -> None:
    """Every label lights one colour channel; rare ones too are told apart."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(96, 3, generator=generator) < torch.tensor([0.7, 0.4, 0.15])).to(torch.uint8)
    pixels = (labels * 200)[:, :, None, None].expand(-1, -1, 8, 8).contiguous()
    data = TrainingImages(pixels, labels, labels.sum(0).float(), torch.full((3,), 0.4), torch.full((3,), 0.4))
    recipe = replace(RECIPE, epochs=14, milestones=(12, 13), lr=0.2)
    trained = fit(papers.get(name), tmp_path, recipe, data)
    assert trained.losses[-1] < 0.6 * trained.losses[0]
    with torch.no_grad():
        scores = trained.network(to_float(pixels, data.mean, data.std)).logits.mean(1).sigmoid()
    for k in range(3):
        assert average_precision_score(labels[:, k], scores[:, k]) > 0.9


@pytest.mark.parametrize("backbone", ["resnet8", "resnet10"])
def test_fine_tuning_keeps_early_layers_and_statistics_and_trains_all_else(backbone: str, tmp_path: Path) -> None:
    class Tuned(Ltml):
        def stages(self, recipe: Recipe) -> list[Stage]:
            return [replace(stage, fine_tune=True) for stage in super().stages(recipe)]

    data, recipe = tiny.label_sets(side=32), replace(RECIPE, backbone=backbone, epochs=1)
    trained = fit(Tuned(), tmp_path, recipe, data).network.state_dict()
    counts = tuple(int(count) for count in data.counts)
    initial = build_network(Ltml(), NetworkSpec(backbone, counts, (32, 32)), 1, training=True).state_dict()
    for name, value in trained.items():
        kept = name.startswith(("stem.", "shared.0.")) or "running_" in name or "num_batches" in name
        assert torch.equal(value, initial[f"network.{name}"]) == kept, name


@pytest.mark.parametrize("name", ["ltml", "distribution_balanced"])
def test_stopped_after_an_epoch_and_resumed_equals_undisturbed(name: str, tmp_path: Path) -> None:
    method = papers.get(name)
    (stage,) = method.stages(RECIPE)
    whole = fit(method, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        fit(method, tmp_path / "b", progress=tiny.crash_after(stage.name, 1))
    resumed = fit(method, tmp_path / "b")
    assert whole.losses == resumed.losses
    ours, theirs = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_steps_get_float_label_sets_label_counts_and_the_number_of_images(tmp_path: Path) -> None:
    data, seen = tiny.label_sets(), []

    class Probe(Ltml):
        def step(self, network: nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
            seen.append(batches)
            return super().step(network, batches, epoch)

    fit(Probe(), tmp_path, replace(RECIPE, epochs=1))
    assert [[len(batch.target) for batch in batches] for batches in seen] == [[16, 16], [16, 16], [13, 13]]
    for batches in seen:
        for batch in batches:
            assert batch.target.dtype == torch.float32
            assert batch.target.shape[1] == 4
            assert torch.equal(batch.counts, data.counts)
            assert batch.population == 45
    uniform = torch.cat([batches[0].target for batches in seen])
    assert torch.equal(uniform.sum(0), data.counts)


def test_streamed_label_sets_are_trained_on(tmp_path: Path) -> None:
    data = tiny.label_sets(images=21)
    streamed = replace(streamed_images(), labels=data.labels, counts=data.counts, whole=True)
    recipe = replace(RECIPE, crop="whole", size=8)
    trained = train(Ltml(), recipe, streamed, 1, resume=tmp_path / "run.safetensors", key="key")
    assert np.isfinite(trained.losses).all()
    assert len(trained.losses) == 2


def test_mixup_of_label_sets_is_the_expected_loss() -> None:
    (batch,) = table_batches(1)
    network, method = Table(torch.randn(16, 1, 4)), papers.get("bce")
    step = method.stages(RECIPE)[0].step
    other = batch.target.roll(1, 0)
    mixed = step(network, [replace(batch, partner=other, share=torch.tensor(0.3))], 0)["loss"]
    parts = [step(network, [replace(batch, target=labels)], 0)["loss"] for labels in (batch.target, other)]
    torch.testing.assert_close(mixed, 0.3 * parts[0] + 0.7 * parts[1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ltml:consistency=-1", "ltml: consistency must be >= 0"),
        ("ltml:compensation_rate=0", "compensation_rate must be > 0"),
        ("ltml:branches=three", "unknown value of branches 'three'; allowed: both, uniform, rebalanced"),
        ("ltml:lambda=1", "unknown option of ltml 'lambda'"),
        ("focal:gamma=-1", "gamma must be >= 0"),
        ("class_balanced_focal:beta=1", r"beta must lie in 0\.\.1"),
        ("distribution_balanced:kappa=0", "kappa must be > 0"),
        ("bce:sampler=both", "unknown value of sampler 'both'"),
    ],
)
def test_options_that_cannot_work_are_bad_input(name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        papers.get(name)


# Data and methods of one task


@pytest.mark.parametrize(
    ("method", "dataset", "message"),
    [
        ("sade", "embedded_mosaics", "sade needs images with one label an image; .*allowed: .*bce.*ltml"),
        ("ltml", "embedded", "ltml needs images with label sets; embedded .*allowed: softmax.*shike"),
    ],
)
def test_a_method_for_other_data_is_refused_with_those_that_fit(
    method: str, dataset: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--dataset", dataset, "--methods", method, "--results", str(tmp_path / "none")])
    error = capsys.readouterr().err
    assert status == 2
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("dataset", "expected"), [("embedded", "single_label"), ("embedded_mosaics", "multi_label")])
@pytest.mark.parametrize(("methods", "left_out"), [((), set(papers.BESIDES)), (("all",), set())])
def test_methods_are_one_for_each_paper_or_all(
    dataset: str, expected: str, methods: tuple[str, ...], left_out: set[str]
) -> None:
    jobs = TrainingRequest(DataRequest(dataset), methods=methods).jobs()
    assert [job.method_name for job in jobs] == [name for name in papers.of_task(expected) if name not in left_out]
    assert len(jobs) == {"single_label": 10 - len(left_out), "multi_label": 6}[expected]
    assert len({job.key for job in jobs}) == len(jobs)


def test_ltml_is_trained_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "short.toml"
    recipe.write_text('backbone = "resnet8"\nepochs = 1\nmilestones = [1, 1]\nwarmup = 0\n')
    arguments = ["--dataset", "embedded_mosaics", "--methods", "ltml", "--recipe", str(recipe)]
    assert main([*arguments, "--results", str(tmp_path / "results")]) == 0
    path = Path(capsys.readouterr().out.strip())
    described = describe(path)
    assert described is not None
    assert described["method"] == "ltml"
    assert described["train_counts"] == [800, 343, 161, 81, 44, 24, 14, 9, 5, 3]
    # without the compensation, which only training has
    network = Ltml().network(NetworkSpec("resnet8", (1,) * 10, (28, 28)))
    assert described["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert load_tensors(path)[0].keys() == network.state_dict().keys()


def test_the_cost_of_two_streams_is_that_of_two_passes() -> None:
    parser = argparse.ArgumentParser()
    add_data_arguments(parser)
    add_training_arguments(parser)
    names = ["ltml", "ltml:branches=uniform"]
    both, one = request_of(
        TrainingRequest, parser.parse_args(["--dataset", "embedded_mosaics", "--methods", *names])
    ).jobs()
    macs = {job.method_name: job.cost() / (6 * job.training.n * job.recipe.epochs) for job in (both, one)}
    assert 2 * macs["ltml:branches=uniform"] < macs["ltml"] < 4 * macs["ltml:branches=uniform"]
