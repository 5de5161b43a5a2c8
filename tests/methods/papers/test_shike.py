"""SHIKE: published sizes, learning rates and golden losses; what each stage trains; resuming across stages."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from methods import papers
from methods.core import recipes
from methods.core.batch import NetworkSpec
from methods.core.stage import CosineSchedule, Stage
from methods.networks import build
from methods.networks.cifar_resnet import BLOCKS
from methods.networks.macs import count_macs, count_parameters
from methods.networks.shike_resnet import alignment, alignment_widths, shike_resnet, small_network
from methods.papers.shike import Shike
from methods.training.checkpoint import load_tensors
from methods.training.loop import Trained, train
from shifts.common.errors import BadInput
from tests.methods import tiny
from tests.properties.joint import loss_of

CIFAR100 = NetworkSpec("resnet32", (1,) * 100, (32, 32))
RECIPE = replace(tiny.RECIPE, epochs=12)
DATA = tiny.images(side=20)


def run(folder: Path, progress: Callable[[str, int, int, float], None] = lambda *_: None) -> Trained:
    return train(Shike(), RECIPE, DATA, 1, resume=folder / "resume", key="tiny", progress=progress)


def test_published_sizes() -> None:
    network = Shike().network(CIFAR100)
    assert count_parameters(network) == 1_277_008
    parts = {name: count_parameters(part) for name, part in network.named_children()}
    assert parts == {
        "stem": 432 + 32,
        "shared": 23_360 + 88_768,
        "branches": 1_060_992,
        "alignments": 65_024,
        "heads": 19_200,
        "rt_heads": 19_200,
    }
    assert count_macs(network, (32, 32)) / 1e6 == pytest.approx(121.0, abs=0.05)


@pytest.mark.parametrize("backbone", BLOCKS)
@pytest.mark.parametrize("side", [28, 32, 15])
def test_every_backbone_and_image_size_fits(backbone: str, side: int) -> None:
    network = shike_resnet(NetworkSpec(backbone, (9, 5, 2), (side, side))).eval()
    output = network(torch.rand(2, 3, side, side))
    assert output.logits.shape == (2, 3, 3)
    assert output.features.shape == (2, 3, 64)
    assert output.logits.isfinite().all()


def test_other_backbones_are_refused() -> None:
    with pytest.raises(BadInput, match="resnet32"):
        shike_resnet(replace(CIFAR100, backbone="resnet31"))


def test_a_network_for_224_pixel_images_shares_three_stages() -> None:
    spec = NetworkSpec("resnet10", (9, 5, 2), (64, 64))
    network, alone = shike_resnet(spec).eval(), build(spec, 1, reduced=False)
    with torch.inference_mode():
        output = network(torch.rand(2, 3, 65, 65))
    assert output.features.shape == (2, 3, 512)
    assert output.logits.isfinite().all()
    fourth = count_parameters(network.branches[0])
    trunks = [sum(map(count_parameters, (net.stem, net.shared, net.branches))) for net in (network, alone)]
    assert trunks[0] == trunks[1] + 2 * fourth


def test_alignment_channels_by_the_general_rule() -> None:
    assert [alignment_widths(16, 2, source) for source in range(2)] == [[16, 32, 64], [32, 64]]
    assert [alignment_widths(256, 3, source) for source in range(3)] == [
        [256, 512, 1024, 2048],
        [512, 1024, 2048],
        [1024, 2048],
    ]


def test_alignment_chains_lack_the_relu_of_their_second_step() -> None:
    kinds = {steps: [type(layer) for layer in alignment(range(1, steps + 2))] for steps in (1, 2, 3)}
    step = [nn.Conv2d, nn.BatchNorm2d]
    assert kinds == {1: [*step, nn.ReLU], 2: [*step, nn.ReLU, *step], 3: [*step, nn.ReLU, *step, *step, nn.ReLU]}


def test_a_network_of_four_stages_has_a_depth_for_each_of_three_experts() -> None:
    network = small_network(1, (4, 8, 16, 32), experts=3, classes=5)
    assert [len(list(chain.parameters())) // 3 for chain in network.alignments] == [3, 2, 1]  # type: ignore[arg-type]
    output = network(torch.rand(4, 3, 33, 33))
    assert output.features.shape == (4, 3, 32)
    output.logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.alignments.parameters())


def test_features_are_products_of_deep_and_aligned_shallow_maps() -> None:
    network = shike_resnet(NetworkSpec("resnet14", (9, 5, 2), (16, 16))).eval()
    images = torch.rand(2, 3, 16, 16)
    features = network(images).features
    one = network.shared[0](network.stem(images))
    two = network.shared[1](one)
    for expert, shallow in enumerate([one, two, one]):
        fused = network.branches[expert](two) * network.alignments[expert](shallow)
        torch.testing.assert_close(features[:, expert], fused.mean((2, 3)))


def test_the_first_heads_answer_only_where_they_are_asked_for() -> None:
    network = shike_resnet(NetworkSpec("resnet8", (9, 5, 2), (16, 16)))
    images = torch.rand(4, 3, 16, 16)
    for mode in (True, False):
        network.train(mode)
        final, first = network(images), network(images, retrained=False)
        for output, heads in ((final, network.rt_heads), (first, network.heads)):
            expected = torch.stack([head(output.features[:, i]) for i, head in enumerate(heads)], 1)
            torch.testing.assert_close(output.logits, expected)


def rates(stage: Stage) -> list[float]:
    return [stage.optimiser.lr * stage.schedule.factor(epoch) for epoch in range(stage.epochs)]


def test_published_learning_rates() -> None:
    experts, heads = Shike().stages(recipes.PUBLISHED)
    assert (experts.epochs, heads.epochs) == (180, 20)
    assert rates(experts)[:6] == pytest.approx([0.025, 0.05, 0.075, 0.10, 0.125, 0.15])
    assert rates(experts)[-1] == pytest.approx(0.0, abs=2e-5)
    assert max(rates(experts)) == pytest.approx(0.15)
    assert rates(heads)[:6] == pytest.approx([0.0375, 0.05, 0.0625, 0.075, 0.0875, 0.1])
    assert rates(heads)[6] == pytest.approx(0.0989, abs=5e-5)
    assert rates(heads)[19] == pytest.approx(0.0011, abs=5e-5)
    for stage in (experts, heads):
        sgd = stage.optimiser
        assert (stage.batch_size, sgd.momentum, sgd.nesterov, sgd.weight_decay) == (128, 0.9, False, 5e-4)
        augmentation = stage.augmentation
        assert (augmentation.rotation, augmentation.autoaugment, augmentation.cutout) == (0.0, True, 16)
        assert (augmentation.padding, augmentation.flip, stage.mixup) == (4, True, None)


@pytest.mark.parametrize(
    ("name", "lengths"), [("quick", (14, 2)), ("published-x0.1", (18, 2)), ("published-x0.01", (1, 1))]
)
def test_shorter_recipes_keep_warm_up_and_peak(name: str, lengths: tuple[int, int]) -> None:
    published = Shike().stages(recipes.PUBLISHED)
    asked = recipes.get(name, "cifar100")
    stages = Shike().stages(asked)
    assert tuple(stage.epochs for stage in stages) == lengths
    for stage, full in zip(stages, published, strict=True):
        assert max(rates(stage)) == pytest.approx(full.optimiser.lr * asked.lr / 0.1)
        assert min(rates(stage)) > 0
        if stage.epochs > 10:
            assert rates(stage)[:6] == pytest.approx([rate * asked.lr / 0.1 for rate in rates(full)[:6]])
            assert rates(stage) == [*rates(stage)[:5], *sorted(rates(stage)[5:], reverse=True)]


def test_a_warm_up_longer_than_half_of_the_stage_is_gone_through_faster() -> None:
    def factors(epochs: int) -> list[float]:
        return [CosineSchedule(epochs, base=0.5).factor(epoch) for epoch in range(epochs)]

    assert factors(1) == [1.0]
    assert factors(2) == pytest.approx([0.375, 1.0])
    assert factors(3) == pytest.approx([0.375, 1.0, 0.5])
    assert factors(4) == pytest.approx([0.375, 0.6875, 1.0, 0.5])


def test_rates_scale_with_the_recipes() -> None:
    published, halved = Shike().stages(recipes.PUBLISHED), Shike().stages(recipes.get("published", "cifar10"))
    for full, half in zip(published, halved, strict=True):
        assert [2 * rate for rate in rates(half)] == pytest.approx(rates(full))


Z = torch.tensor(
    [
        [[4, 1, -2, 3], [3, 2, -1, 1], [5, 0, 1, 2]],
        [[0, 2, 5, -1], [1, 3, 4, 0], [-1, 1, 6, 2]],
    ],
    dtype=torch.float64,
)
GOLDEN = {"shike": 16.345481, "shike:teacher_target_logit=masked": 4.910126}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_losses_of_both_stages(name: str) -> None:
    experts, heads = papers.get(name).stages(recipes.QUICK)
    target, counts = torch.tensor([0, 2]), torch.tensor([100, 40, 10, 5])
    assert loss_of(experts.step, counts)(Z, target).item() == pytest.approx(GOLDEN[name], abs=2e-6)
    assert loss_of(heads.step, counts)(Z, target).item() == pytest.approx(0.781251, abs=2e-6)


def test_options_reach_the_loss() -> None:
    target, counts = torch.tensor([0, 2]), torch.tensor([100, 40, 10, 5])

    def value_and_gradient(name: str) -> tuple[float, Tensor]:
        free = Z.clone().requires_grad_()
        loss = loss_of(papers.get(name).stages(recipes.QUICK)[0].step, counts)(free, target)
        return loss.item(), torch.autograd.grad(loss, free)[0]

    value, gradient = value_and_gradient("shike")
    detached = value_and_gradient("shike:detach_teacher=true")
    assert detached[0] == value
    assert not torch.equal(detached[1], gradient)
    per_sample, entropy = value_and_gradient("shike:reduction=batchmean")[0], 0.643730
    assert per_sample - entropy == pytest.approx(4 * (value - entropy), abs=1e-4)
    with pytest.raises(BadInput, match="masked"):
        papers.get("shike:teacher_target_logit=drop")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, Tensor]], Trained]:
    """The network's tensors after each stage, and what came out of training."""
    folder, kept = tmp_path_factory.mktemp("shike"), {}

    def keep(stage: str, epoch: int, epochs: int, loss: float) -> None:
        kept[stage] = load_tensors(folder / "resume")[0]

    trained = run(folder, keep)
    return {
        stage: {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
        for stage, tensors in kept.items()
    }, trained


def test_stage_two_trains_new_heads_only_while_batchnorm_statistics_move(
    undisturbed: tuple[dict[str, dict[str, Tensor]], Trained],
) -> None:
    kept, trained = undisturbed
    after = trained.network.state_dict()
    moved = {name for name, value in kept["experts"].items() if not torch.equal(value, after[name])}
    statistics = {name for name in after if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert statistics <= moved
    assert moved - statistics == {f"rt_heads.{expert}.weight" for expert in range(3)}
    assert all(value.isfinite().all() for value in after.values())
    assert len(trained.losses) == 12


def test_stage_one_leaves_the_new_heads_as_they_started(
    undisturbed: tuple[dict[str, dict[str, Tensor]], Trained],
) -> None:
    kept, _ = undisturbed
    heads = [kept["experts"][f"rt_heads.{expert}.weight"] for expert in range(3)]
    assert all(torch.allclose(head.norm(dim=0), torch.ones(head.shape[1]), atol=1e-5) for head in heads)


def test_a_run_killed_in_and_between_stages_reaches_the_same_weights(
    undisturbed: tuple[dict[str, dict[str, Tensor]], Trained], tmp_path: Path
) -> None:
    for stage, epoch in (("experts", 4), ("experts", 10), ("heads", 1)):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, tiny.crash_after(stage, epoch))
    resumed, (_, trained) = run(tmp_path), undisturbed
    assert resumed.losses == trained.losses
    expected = trained.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.network.state_dict().items())
