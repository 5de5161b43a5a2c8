"""Networks for 224-pixel images: sizes and costs of the published tables."""

import pytest
import torch
from torch import nn

from methods import networks, papers
from methods.core.batch import NetworkSpec
from methods.networks.cifar_resnet import BLOCKS, expert_resnet
from methods.networks.heads import linear_head
from methods.networks.imagenet_resnet import LAYOUTS
from methods.networks.macs import count_macs, count_parameters, split_macs
from shifts.common.errors import BadInput

SIDE = (224, 224)
SMALL = NetworkSpec("resnet10", (9, 5, 2), (32, 32))


def empty(backbone: str, experts: int, *, classes: int = 1000, reduced: bool = True) -> nn.Module:
    """The network without storage for its weights."""
    with torch.device("meta"):
        return networks.build(NetworkSpec(backbone, (2,) * classes, SIDE), experts, reduced=reduced)


@pytest.mark.parametrize(
    ("backbone", "parameters"),
    [("resnet10", 9_401_792), ("resnet50", 43_677_248), ("resnext50", 42_889_024)],
)
def test_parameters_of_three_experts_are_the_published_ones(backbone: str, parameters: int) -> None:
    assert count_parameters(empty(backbone, 3)) == parameters


@pytest.mark.parametrize(
    ("backbone", "classes", "shared", "per_expert", "totals"),
    [
        ("resnet10", 1000, 532.07, 215.07, (962, 1177, 1392, 1823)),
        ("resnet50", 1000, 1830.2, 1323.1, (4476, 5800, 7123, 9769)),
        ("resnext50", 1000, 1858.9, 1409.8, (4679, 6088, 7498, 10318)),
        ("resnet50", 8142, 1830.2, 1334.1, (4498, 5833, 7167, 9835)),
    ],
)
def test_macs_are_the_published_ones(
    backbone: str, classes: int, shared: float, per_expert: float, totals: tuple[int, ...]
) -> None:
    ours = split_macs(lambda experts: empty(backbone, experts, classes=classes), SIDE)
    assert ours[0] / 1e6 == pytest.approx(shared, abs=0.05)
    assert ours[1] / 1e6 == pytest.approx(per_expert, abs=0.05)
    for experts, total in zip((2, 3, 4, 6), totals, strict=True):
        assert (ours[0] + experts * ours[1]) / 1e6 == pytest.approx(total, abs=0.6)


@pytest.mark.parametrize(
    ("backbone", "classes", "macs", "within"),
    [
        ("resnet10", 1000, 892.7, 0.05),
        ("resnet50", 1000, 4111, 0.5),
        ("resnext50", 1000, 4259, 0.5),
        ("resnet50", 8142, 4126, 0.5),
    ],
)
def test_single_branches_at_full_width_cost_what_the_papers_print(
    backbone: str, classes: int, macs: float, within: float
) -> None:
    assert count_macs(empty(backbone, 1, classes=classes, reduced=False), SIDE) / 1e6 == pytest.approx(macs, abs=within)


@pytest.mark.parametrize(
    ("backbone", "parameters"), [("resnet50", 25_557_032), ("resnext50", 25_028_904), ("resnet152", 60_192_808)]
)
def test_one_branch_at_full_width_has_the_published_parameters(backbone: str, parameters: int) -> None:
    with torch.device("meta"):
        ours = networks.build(NetworkSpec(backbone, (1,) * 1000, SIDE), 1, reduced=False, head=linear_head)
    assert count_parameters(ours) == parameters


def test_grouped_convolutions_of_reduced_experts_are_384_and_768_wide() -> None:
    branch = empty("resnext50", 2).branches[1]
    widths = [{layer.conv2.out_channels for layer in part} for part in branch]
    assert widths == [{384}, {768}]
    assert branch[0][0].conv2.groups == 32
    assert branch[0][0].conv2.stride == (2, 2)


def test_resnet152_is_never_narrowed() -> None:
    assert count_parameters(empty("resnet152", 3)) == count_parameters(empty("resnet152", 3, reduced=False))


def test_output_shapes_and_gradients_of_every_parameter() -> None:
    network = networks.build(SMALL, 2, reduced=True)
    output = network(torch.randn(3, 3, 32, 32))
    assert output.logits.shape == (3, 2, 3)
    assert output.features.shape == (3, 2, network.dim) == (3, 2, 384)
    (output.logits**2).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_experts_do_not_share_late_layers() -> None:
    network = networks.build(SMALL, 2, reduced=True).eval()
    images = torch.randn(2, 3, 32, 32)
    before = network(images)
    with torch.no_grad():
        network.branches[1][0][0].conv1.weight.add_(0.1)
    after = network(images)
    assert torch.equal(before.logits[:, 0], after.logits[:, 0])
    assert not torch.equal(before.logits[:, 1], after.logits[:, 1])


def test_convolutions_start_normal_by_channels_out() -> None:
    network = networks.build(SMALL, 2, reduced=True)
    weight = network.branches[0][1][0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 384)) ** 0.5, rel=0.02)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) and not norm.bias.any() for norm in norms)


def test_small_backbones_are_those_of_the_cifar_family() -> None:
    spec = NetworkSpec("resnet8", (9, 5, 2), (8, 8))
    torch.manual_seed(0)
    built = networks.build(spec, 2, reduced=True)
    torch.manual_seed(0)
    direct = expert_resnet(spec, 2, reduced=True)
    assert all(map(torch.equal, built.state_dict().values(), direct.state_dict().values()))


def test_unknown_backbone_lists_both_families() -> None:
    with pytest.raises(BadInput, match="unknown backbone 'resnet51'") as error:
        networks.build(NetworkSpec("resnet51", (2, 1), SIDE), 1, reduced=False)
    assert all(name in str(error.value) for name in [*BLOCKS, *LAYOUTS])


@pytest.mark.parametrize("name", papers.METHODS)
def test_every_method_takes_a_four_stage_backbone(name: str) -> None:
    method = papers.get(name)
    network = method.network(SMALL).eval()
    logits = network(torch.randn(2, 3, 32, 32)).logits
    assert logits.shape == (2, len(method.expert_priors(SMALL.counts).values), 3)
