"""Networks: published sizes, the parameter-free shortcut, the cosine head, and what experts share."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from methods import papers
from methods.core.batch import NetworkSpec
from methods.core.precision import whole_float32
from methods.networks.cifar_resnet import BLOCKS, BasicBlock, ExpertResNet, expert_resnet
from methods.networks.heads import CosineHead, linear_head
from methods.networks.macs import count_macs, count_parameters
from shifts.common.errors import BadInput

CIFAR100 = NetworkSpec("resnet32", tuple(range(500, 400, -1)), (32, 32))
SMALL = NetworkSpec("resnet8", (30, 20, 10), (8, 8))


def branch_sizes(widths: tuple[int, int, int], blocks: int, side: int) -> tuple[int, int, int, int]:
    """Parameters and MACs of stem and stage 1, then of stages 2-3, written out (MACs: 2 a BatchNorm output)."""
    first = widths[0]
    shared = [3 * first * 9 + 2 * first, (3 * 9 + 2) * first * side**2]
    own = [0, 0]
    for number, (before, width) in enumerate(zip((first, *widths), widths, strict=False)):
        pixels = (side // 2**number) ** 2
        filters = 9 * width * (before + (2 * blocks - 1) * width)
        for index, size in enumerate((filters + 4 * blocks * width, (filters + 4 * blocks * width) * pixels)):
            (own if number else shared)[index] += size
    return shared[0], shared[1], own[0], own[1]


@pytest.mark.parametrize(
    ("experts", "parameters", "millions"),
    [(2, 530_512, 75.65), (3, 783_856, 101.27), (4, 1_037_200, 126.90), (6, 1_543_888, 178.15)],
)
def test_published_sizes_of_reduced_experts(experts: int, parameters: int, millions: float) -> None:
    network = expert_resnet(CIFAR100, experts, reduced=True)
    assert count_parameters(network) == parameters
    assert count_macs(network, (32, 32)) / 1e6 == pytest.approx(millions, abs=0.005)


def test_published_macs_are_shared_plus_a_part_for_each_expert() -> None:
    two, three = (count_macs(expert_resnet(CIFAR100, experts, reduced=True), (32, 32)) for experts in (2, 3))
    assert (three - two) / 1e6 == pytest.approx(25.625, abs=0.0005)
    assert (3 * two - 2 * three) / 1e6 == pytest.approx(24.396, abs=0.0005)


@pytest.mark.parametrize("name", ["softmax", "balanced_softmax", "logit_adjusted"])
def test_published_size_of_the_full_width_branch(name: str) -> None:
    network = papers.get(name).network(CIFAR100)
    assert count_parameters(network) == 470_004
    assert count_macs(network, (32, 32)) / 1e6 == pytest.approx(69.47, abs=0.005)


@pytest.mark.parametrize(
    ("name", "experts", "widths"),
    [
        ("sade", 3, (16, 24, 48)),
        ("sade:reduced=false", 3, (16, 32, 64)),
        ("ldam_drw", 1, (16, 32, 64)),
        ("balpoe", 3, (16, 32, 64)),
        ("balpoe:tau=0/0.5/1/1.5/2", 5, (16, 32, 64)),
    ],
)
@pytest.mark.parametrize("side", [32, 28])
def test_sizes_equal_the_ones_written_out(name: str, experts: int, widths: tuple[int, int, int], side: int) -> None:
    network = papers.get(name).network(CIFAR100)
    shared, shared_macs, own, own_macs = branch_sizes(widths, 5, side)
    head = 100 * widths[-1]
    assert count_parameters(network) == shared + experts * (own + head)
    assert count_macs(network, (side, side)) == shared_macs + experts * (own_macs + head)


def test_balpoes_three_full_width_experts() -> None:
    assert count_parameters(papers.get("balpoe").network(CIFAR100)) == 1_362_064


@pytest.mark.parametrize("backbone", BLOCKS)
def test_depth_is_the_one_in_the_name(backbone: str) -> None:
    network = expert_resnet(NetworkSpec(backbone, (3, 2), (8, 8)), 1, reduced=True)
    convolutions = sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert convolutions + 1 == int(backbone.removeprefix("resnet"))


def test_an_unknown_backbone_is_refused_with_what_exists() -> None:
    with pytest.raises(BadInput, match=r"unknown backbone 'resnet31'.*resnet32"):
        expert_resnet(NetworkSpec("resnet31", (3, 2), (8, 8)), 1, reduced=True)


def test_counting_macs_leaves_the_network_as_it_was() -> None:
    network = expert_resnet(SMALL, 2, reduced=True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_macs(network, (8, 8))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("before", "width", "stride", "pad"), [(16, 24, 2, 4), (24, 48, 2, 12), (32, 64, 2, 16), (16, 16, 1, 0)]
)
def test_shortcut_takes_every_second_pixel_and_pads_channels_on_both_sides(
    before: int, width: int, stride: int, pad: int
) -> None:
    block = BasicBlock(before, width, stride).eval()
    nn.init.zeros_(block.bn2.weight)  # what is left is the shortcut
    x = torch.rand(2, before, 6, 8) + 0.1
    expected = torch.zeros(2, width, 6 // stride, 8 // stride)
    expected[:, pad : pad + before] = x[:, :, ::stride, ::stride]
    assert torch.equal(block(x), expected)


def test_block_adds_two_normalised_convolutions_to_its_input() -> None:
    block = BasicBlock(4, 4, 1).eval()
    nn.init.dirac_(block.conv1.weight)
    nn.init.dirac_(block.conv2.weight)
    with torch.no_grad():
        block.bn2.running_mean.fill_(1)  # type: ignore[union-attr]
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(block(x), (x.clamp_min(0) - 1 + x).clamp_min(0), rtol=0, atol=1e-4)


def test_initial_weights() -> None:
    torch.manual_seed(0)
    network = expert_resnet(CIFAR100, 3, reduced=False, head=linear_head)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert float(module.weight.detach().std()) == pytest.approx((2 / module.weight[0].numel()) ** 0.5, rel=0.1)
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all() and (module.bias == 0).all())


def head_and_features(seed: int) -> tuple[CosineHead, Tensor]:
    """A cosine head from 8 features to 5 classes, and 6 features."""
    torch.manual_seed(seed)
    return CosineHead(8, 5), torch.randn(6, 8)


@given(seed=st.integers(0, 10_000))
def test_cosine_head_equals_its_formula_and_starts_with_unit_columns(seed: int) -> None:
    head, features = head_and_features(seed)
    torch.testing.assert_close(head.weight.norm(dim=0), torch.ones(5))
    logits, weight = head(features).detach(), head.weight.detach().double()
    for image in range(6):
        for c in range(5):
            x, w = features[image].double(), weight[:, c]
            assert float(logits[image, c]) == pytest.approx(float(30 * (x @ w) / (x.norm() * w.norm())), abs=1e-4)


@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3), column=st.integers(0, 4))
def test_cosine_logits_do_not_depend_on_lengths_and_are_bounded(seed: int, scale: float, column: int) -> None:
    head, features = head_and_features(seed)
    logits = head(features)
    assert float(logits.detach().abs().max()) <= 30 * (1 + 1e-6)
    torch.testing.assert_close(head(scale * features), logits, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        head.weight[:, column] *= scale
    torch.testing.assert_close(head(features), logits, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        head.weight[:, column] *= -1
    torch.testing.assert_close(head(features)[:, column], -logits[:, column], rtol=1e-4, atol=1e-4)


def test_cosine_bound_is_reached_and_no_feature_gives_nan() -> None:
    head, _ = head_and_features(0)
    logits = head(torch.cat([head.weight.detach().T, torch.zeros(1, 8)]))
    torch.testing.assert_close(logits.diagonal(), torch.full((5,), 30.0))
    assert torch.equal(logits[5].detach(), torch.zeros(5))


def three_experts() -> tuple[ExpertResNet, Tensor]:
    torch.manual_seed(0)
    return expert_resnet(SMALL, 3, reduced=True), torch.randn(4, 3, 8, 8)


def test_features_are_averages_over_pixels_and_what_the_heads_see() -> None:
    network, images = three_experts()
    output = network.eval()(images)
    assert output.logits.shape == (4, 3, 3)
    assert output.features.shape == (4, 3, 48)
    maps = network.shared(network.stem(images))
    for expert, (branch, head) in enumerate(zip(network.branches, network.heads, strict=True)):
        assert branch(maps).shape == (4, 48, 2, 2)
        torch.testing.assert_close(branch(maps).flatten(2).mean(2), output.features[:, expert])
        torch.testing.assert_close(head(output.features[:, expert]), output.logits[:, expert])


@pytest.mark.parametrize("expert", range(3))
def test_an_experts_logits_depend_on_its_own_branch_and_the_shared_part_only(expert: int) -> None:
    network, images = three_experts()
    names, parameters = zip(*network.named_parameters(), strict=True)
    total = (network(images).logits[:, expert] * torch.randn(4, 3)).sum()
    for name, gradient in zip(names, torch.autograd.grad(total, parameters, allow_unused=True), strict=True):
        part, number = name.split(".")[:2]
        reached = part in ("stem", "shared") or number == str(expert)
        assert (gradient is not None and bool(gradient.any())) == reached, name


def test_changing_one_branch_changes_one_expert_and_changing_the_stem_all() -> None:
    network, images = three_experts()
    network.eval()

    def changed(module: nn.Module, before: Tensor) -> list[bool]:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        difference = (network(images).logits - before).abs().amax((0, 2))
        return [bool(value > 0) for value in difference]

    assert changed(network.branches[1], network(images).logits) == [False, True, False]
    assert changed(network.heads[2], network(images).logits) == [False, False, True]
    assert changed(network.stem, network(images).logits) == [True, True, True]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["softmax", "ldam_drw", "balpoe", "sade"])
def test_logits_of_the_same_weights_agree_on_cpu_and_gpu(name: str) -> None:
    whole_float32()
    torch.manual_seed(0)
    network = papers.get(name).network(CIFAR100)
    images = torch.randn(64, 3, 32, 32)
    with torch.no_grad():
        for _ in range(3):  # BatchNorm statistics of the data, as after training
            network(images)
        expected = network.eval()(images).logits
        found = network.cuda()(images.cuda()).logits.cpu()
    assert float((found - expected).norm() / expected.norm()) < 1e-3
