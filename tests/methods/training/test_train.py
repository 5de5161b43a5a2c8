"""The training loop: same seed same weights, resuming bit for bit, what it does in a step, and what stops it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from methods import papers
from methods.core.batch import Batch, NetworkSpec
from methods.core.recipe import Recipe
from methods.core.stage import Augmentation, Stage
from methods.pixels.data import TrainingImages
from methods.training.checkpoint import load_tensors, save_tensors
from methods.training.loop import Trained, build_network, derived_seed
from shifts.common.errors import WorkFailed
from tests.methods import tiny
from tests.methods.probe import THREE, Probe, fit, one_class_an_image, settings_of

STILL = Augmentation(padding=0, flip=False, rotation=0.0)


def same_weights(one: Trained, other: Trained) -> bool:
    """Equal bit for bit: parameters and BatchNorm buffers."""
    first, second = one.network.state_dict(), other.network.state_dict()
    assert any("running_mean" in name for name in first)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("method", ["softmax", "balpoe"])
def test_same_seed_same_weights_and_other_seeds_others(method: str, tmp_path: Path) -> None:
    one, again, other = (fit(method, tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert same_weights(one, again)
    assert one.losses == again.losses
    assert not same_weights(one, other)
    assert not one.network.training


def test_training_depends_on_no_random_state_and_leaves_it_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = fit("softmax", tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert same_weights(one, fit("softmax", tmp_path / "b"))


def test_seeds_depend_on_every_part() -> None:
    seeds = {derived_seed(*parts) for parts in (("a", 1), ("a", 2), ("b", 1), ("a", 1, 0), ("a", "1"), (1, "a"))}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    spec = NetworkSpec("resnet8", tiny.COUNTS, (8, 8))
    first, second = (build_network(papers.get("sade"), spec, seed).state_dict() for seed in (0, 1))
    assert not torch.equal(first["heads.0.weight"], second["heads.0.weight"])


@pytest.mark.parametrize("stopped", [1, 2])
@pytest.mark.parametrize("method", ["softmax", "ldam_drw", "balpoe"])
def test_stopped_after_an_epoch_and_resumed_equals_undisturbed(method: str, stopped: int, tmp_path: Path) -> None:
    whole = fit(method, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        fit(method, tmp_path / "b", progress=tiny.crash_after("experts", stopped))
    done: list[int] = []
    resumed = fit(method, tmp_path / "b", progress=lambda stage, epoch, epochs, loss: done.append(epoch))
    assert done == list(range(stopped + 1, 4))
    assert same_weights(whole, resumed)
    assert whole.losses == resumed.losses


def two_stages(stage: Stage) -> list[Stage]:
    frozen = replace(stage, name="heads", epochs=2, trainable=lambda name: name.startswith("heads."), freeze=True)
    return [replace(stage, epochs=2), frozen]


def probe_with_two_stages() -> Probe:
    def loss(network: nn.Module, batch: Batch, epoch: int) -> Tensor:
        return nn.functional.cross_entropy(network(batch.images).logits[:, 0], batch.target)

    return Probe(loss, plain=False, form=two_stages)


def test_stopped_after_every_epoch_of_two_stages_equals_undisturbed(tmp_path: Path) -> None:
    whole = fit(probe_with_two_stages(), tmp_path / "a")
    for stage, epoch in (("experts", 1), ("experts", 2), ("heads", 1), ("heads", 2)):
        with pytest.raises(KeyboardInterrupt):
            fit(probe_with_two_stages(), tmp_path / "b", progress=tiny.crash_after(stage, epoch))
    resumed = fit(probe_with_two_stages(), tmp_path / "b", progress=tiny.crash_after("nothing", 0))
    assert same_weights(whole, resumed)
    assert whole.losses == resumed.losses
    assert len(whole.losses) == 4


def test_a_finished_run_is_not_trained_again_and_keeps_its_seconds(tmp_path: Path) -> None:
    whole, epochs = fit("softmax", tmp_path), []
    again = fit("softmax", tmp_path, progress=lambda *state: epochs.append(state))
    assert not epochs
    assert same_weights(whole, again)
    assert again.seconds == whole.seconds > 0


def test_the_state_of_another_run_is_not_used(tmp_path: Path) -> None:
    whole = fit("softmax", tmp_path / "a", seed=1)
    fit("softmax", tmp_path / "b", seed=2, key="another")
    assert same_weights(whole, fit("softmax", tmp_path / "b", seed=1))


@pytest.mark.parametrize("kept", [0, 10, 2000])
def test_a_truncated_state_is_named(kept: int, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit("softmax", tmp_path, progress=tiny.crash_after("experts", 1))
    path = tmp_path / "run.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WorkFailed, match=r"run\.safetensors: truncated or not a safetensors file"):
        fit("softmax", tmp_path)


def failing(value: float, at: int) -> Probe:
    """Cross entropy that becomes `value` in step 2 of epoch `at` (from 0)."""
    steps: list[int] = []

    def loss(network: nn.Module, batch: Batch, epoch: int) -> Tensor:
        steps.append(epoch)
        worth = value if epoch == at and steps.count(epoch) == 2 else 1.0
        return worth * nn.functional.cross_entropy(network(batch.images).logits[:, 0], batch.target)

    return Probe(loss, plain=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_epoch(value: float, tmp_path: Path) -> None:
    message = rf"probe: loss is {value} in stage 'experts', epoch 2, step 2 of 3"
    with pytest.raises(WorkFailed, match=message):
        fit(failing(value, at=1), tmp_path / "a")
    tensors, metadata = load_tensors(tmp_path / "a" / "run.safetensors")
    assert (metadata["stage"], metadata["epochs"], len(metadata["losses"])) == (0, 1, 1)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    # mended, the run goes on from there
    assert same_weights(fit(failing(1.0, at=1), tmp_path / "a"), fit(failing(1.0, at=1), tmp_path / "b"))


def test_a_first_epoch_that_fails_leaves_no_state(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match="epoch 1, step 2"):
        fit(failing(float("nan"), at=0), tmp_path)
    assert not (tmp_path / "run.safetensors").exists()


@pytest.mark.parametrize("method", ["softmax", "balanced_softmax", "ldam_drw", "sade", "balpoe:mixup=0"])
def test_loss_falls_and_a_separable_set_is_learnt(method: str, tmp_path: Path) -> None:
    labels = torch.arange(3).repeat_interleave(torch.tensor([40, 20, 12]))
    pixels = torch.zeros(72, 3, 8, 8, dtype=torch.uint8)
    pixels[torch.arange(72), labels] = 200  # one colour a class
    counts, half = torch.tensor([40.0, 20.0, 12.0]), torch.full((3,), 0.5)
    recipe = Recipe("learn", backbone="resnet8", epochs=8, batch_size=16, warmup=1, milestones=(6, 7))
    trained = fit(method, tmp_path, recipe=recipe, data=TrainingImages(pixels, labels, counts, half, half))
    assert trained.losses[-1] < 0.5 * trained.losses[0]
    with torch.no_grad():
        logits = trained.network(pixels.float() / 255 / 0.5 - 1).logits
    assert torch.equal(logits.mean(1).argmax(1), labels)


def test_frozen_parameters_stay_bit_for_bit(tmp_path: Path) -> None:
    def only_heads(stage: Stage) -> list[Stage]:
        return [replace(stage, trainable=lambda name: not name.startswith(("stem", "shared")))]

    probe = replace(probe_with_two_stages(), form=only_heads)
    trained = dict(fit(probe, tmp_path).network.named_parameters())
    initial = build_network(probe, NetworkSpec("resnet8", tiny.COUNTS, (8, 8)), 1)
    for name, parameter in initial.named_parameters():
        assert torch.equal(trained[name], parameter) == name.startswith(("stem", "shared")), name


def test_an_epoch_shows_every_image_once_and_epochs_and_seeds_differ(tmp_path: Path) -> None:
    probe = Probe(form=settings_of(epochs=3, batch_size=8))
    fit(probe, tmp_path, data=one_class_an_image(45))
    targets = torch.cat([batch.target for batch in probe.seen]).view(3, 45)
    assert [len(batch.target) for batch in probe.seen[:6]] == [8, 8, 8, 8, 8, 5]
    assert torch.equal(targets.sort(1).values, torch.arange(45).expand(3, 45))
    assert len({tuple(order) for order in targets.tolist()}) == 3
    other = Probe(form=settings_of(epochs=3, batch_size=8))
    fit(other, tmp_path, seed=2, key="other", data=one_class_an_image(45))
    assert not torch.equal(torch.cat([batch.target for batch in other.seen]), targets.flatten())


def test_batches_are_the_augmented_images_of_their_labels(tmp_path: Path) -> None:
    probe = Probe(form=settings_of(augmentation=STILL, epochs=1))
    data = one_class_an_image(45)
    fit(probe, tmp_path, data=replace(data, mean=torch.full((3,), 0.5), std=torch.full((3,), 0.25)))
    for batch in probe.seen:
        assert batch.partner is None
        assert torch.equal(batch.counts, data.counts)
        expected = (batch.target.float() / 255 - 0.5) / 0.25
        torch.testing.assert_close(batch.images, expected[:, None, None, None].expand_as(batch.images))


def test_mixup_mixes_images_as_it_mixes_labels(tmp_path: Path) -> None:
    probe = Probe(form=settings_of(augmentation=STILL, mixup=0.4, epochs=4))
    fit(probe, tmp_path, data=one_class_an_image(45))
    for batch in probe.seen:
        assert batch.partner is not None
        assert batch.share is not None
        assert batch.share.shape == ()
        assert torch.equal(batch.partner.sort().values, batch.target.sort().values)
        mixed = (batch.share * batch.target + (1 - batch.share) * batch.partner) / 255
        torch.testing.assert_close(batch.images, mixed[:, None, None, None].expand_as(batch.images))
    assert any(not torch.equal(batch.partner, batch.target) for batch in probe.seen if batch.partner is not None)


@pytest.mark.parametrize("shape", [0.4, pytest.param(1.0, marks=pytest.mark.statistical)])
def test_shares_of_mixup_are_beta_distributed(shape: float, tmp_path: Path) -> None:
    probe = Probe(form=settings_of(augmentation=STILL, mixup=shape, epochs=4, batch_size=1))
    fit(probe, tmp_path, data=one_class_an_image(200))
    shares = np.array([float(batch.share) for batch in probe.seen if batch.share is not None])
    assert len(shares) == 800
    assert shares.min() >= 0
    assert shares.max() <= 1
    variance = 1 / (4 * (2 * shape + 1))
    assert abs(shares.mean() - 0.5) < 5 * (variance / 800) ** 0.5
    assert shares.var() == pytest.approx(variance, rel=0.15)
    assert stats.kstest(shares, stats.beta(shape, shape).cdf).pvalue > 1e-3


def test_progress_is_told_each_epochs_mean_loss(tmp_path: Path) -> None:
    values: list[float] = []

    def loss(network: nn.Module, batch: Batch, epoch: int) -> Tensor:
        values.append(float(len(values)))
        return network(batch.images).logits.sum() * 0 + values[-1]

    told: list[tuple[str, int, int, float]] = []
    trained = fit(Probe(loss), tmp_path, progress=lambda *state: told.append(state))
    assert told == [("experts", 1, 3, 1.0), ("experts", 2, 3, 4.0), ("experts", 3, 3, 7.0)]
    assert trained.losses == [1.0, 4.0, 7.0]


@pytest.mark.parametrize("method", ["softmax", "ldam_drw", "balpoe", "sade"])
def test_bf16_runs_the_network_in_bf16_and_keeps_weights_and_loss_in_float32(method: str, tmp_path: Path) -> None:
    recipe = replace(THREE, precision="bf16")
    assert np.isfinite(fit(method, tmp_path / "a", recipe=recipe).losses).all()
    kinds: list[torch.dtype] = []
    chosen = papers.get(method)
    step = chosen.stages(recipe)[0].step

    def loss(network: nn.Module, batch: Batch, epoch: int) -> Tensor:
        network.register_forward_hook(lambda module, inputs, output: kinds.append(output.logits.dtype))
        value = step(network, [batch], epoch)["loss"]
        kinds.append(value.dtype)
        return value

    probe = replace(Probe(loss, plain=False), form=settings_of(epochs=1, batch_size=45))
    object.__setattr__(probe, "network", chosen.network)
    trained = fit(probe, tmp_path / "b", recipe=recipe)
    assert kinds == [torch.bfloat16, torch.float32]
    assert all(parameter.dtype == torch.float32 for parameter in trained.network.parameters())


def test_the_state_holds_weights_momentum_and_where_the_run_stands(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit("softmax", tmp_path, progress=tiny.crash_after("experts", 2))
    tensors, metadata = load_tensors(tmp_path / "run.safetensors")
    assert (metadata["key"], metadata["stage"], metadata["epochs"]) == ("key", 0, 2)
    assert "network.stem.1.running_var" in tensors
    assert "momentum.heads.0.weight" in tensors
    # momentum is used: without it the resumed run goes elsewhere
    (tmp_path / "b").mkdir()
    kept = {name: value for name, value in tensors.items() if not name.startswith("momentum.")}
    save_tensors(tmp_path / "b" / "run.safetensors", kept, metadata)
    assert not same_weights(fit("softmax", tmp_path), fit("softmax", tmp_path / "b"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["softmax", "ldam_drw", "balpoe", "sade"])
def test_training_on_the_gpu_and_evaluating_the_weights_on_both(method: str, precision: str, tmp_path: Path) -> None:
    data = tiny.images(side=32)
    there = TrainingImages(*(getattr(data, name).cuda() for name in ("images", "labels", "counts", "mean", "std")))
    recipe = replace(THREE, backbone="resnet32", precision=precision)  # type: ignore[arg-type]
    trained = fit(method, tmp_path, recipe=recipe, data=there)
    assert np.isfinite(trained.losses).all()
    assert next(trained.network.parameters()).is_cuda
    images = (data.images.float() / 255 - 0.5) / 0.25
    with torch.no_grad():
        on_gpu = trained.network(images.cuda()).logits.cpu()
        on_cpu = trained.network.cpu()(images).logits
    assert float((on_gpu - on_cpu).norm() / on_cpu.norm()) < 1e-3


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_stopped_run_on_the_gpu_goes_on_with_the_same_batches(tmp_path: Path) -> None:
    data = tiny.images()
    there = TrainingImages(*(getattr(data, name).cuda() for name in ("images", "labels", "counts", "mean", "std")))
    whole = fit("balpoe", tmp_path / "a", data=there)
    with pytest.raises(KeyboardInterrupt):
        fit("balpoe", tmp_path / "b", data=there, progress=tiny.crash_after("experts", 1))
    resumed = fit("balpoe", tmp_path / "b", data=there)
    np.testing.assert_allclose(resumed.losses, whole.losses, rtol=1e-2)
