"""Residual blocks against figures of torchvision's: names, outputs, and the random numbers that a network takes."""

import pytest
import torch
from torch import nn

from methods import networks
from methods.core.batch import NetworkSpec
from methods.networks.blocks import BasicBlock, Block, Bottleneck

NORM = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def filled(block: nn.Module) -> nn.Module:
    """Double precision, evaluation mode, and every tensor |sin| of its place and of its number among the tensors."""
    block = block.double().eval()
    with torch.no_grad():
        for number, tensor in enumerate(block.state_dict().values()):
            if tensor.is_floating_point():
                places = torch.arange(tensor.numel(), dtype=torch.float64)
                tensor.copy_((places + number).sin().abs().view(tensor.shape))
    return block


@pytest.mark.parametrize(
    ("block", "mean", "deviation", "last"),
    [
        (BasicBlock(16, 16), 80.6024341440593, 72.44734267825919, 3.054313832810209),
        (BasicBlock(16, 24, 2), 103.58603846446437, 56.01803618183352, 140.48582201433342),
        (Bottleneck(16, 4), 20.856639185282106, 16.351825505700262, 7.386176796805495),
        (Bottleneck(16, 8, 2, groups=2, group_width=32), 31.541622088476693, 18.519707389034256, 3.7434331013916187),
    ],
)
def test_outputs_are_torchvisions(block: Block, mean: float, deviation: float, last: float) -> None:
    images = torch.arange(2 * 16 * 6 * 6, dtype=torch.float64).cos().view(2, 16, 6, 6)
    output = filled(block)(images)
    assert [output.mean().item(), output.std().item(), output[1, -1, -1, -1].item()] == pytest.approx(
        [mean, deviation, last], rel=1e-9
    )


def test_names_and_their_order_are_those_of_published_weight_files() -> None:
    def names(*parts: str) -> list[str]:
        return [
            f"{part}.{name}"
            for part in parts
            for name in (NORM if part.startswith("bn") or part.endswith(".1") else ["weight"])
        ]

    two, three = ["conv1", "bn1", "conv2", "bn2"], ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3"]
    shortcut = ["downsample.0", "downsample.1"]
    assert list(BasicBlock(16, 16).state_dict()) == names(*two)
    assert list(BasicBlock(16, 16, 2).state_dict()) == names(*two, *shortcut)
    assert list(Bottleneck(16, 4).state_dict()) == names(*three)
    assert list(Bottleneck(16, 8).state_dict()) == names(*three, *shortcut)


@pytest.mark.parametrize(
    ("backbone", "reduced", "following"),
    [
        ("resnet10", True, 825091466),
        ("resnet50", False, 502703723),
        ("resnext50", True, 1538051209),
        ("resnet152", False, 887519894),
    ],
)
def test_a_network_takes_the_random_numbers_that_one_of_torchvisions_blocks_took(
    backbone: str, reduced: bool, following: int
) -> None:
    torch.manual_seed(3)
    networks.build(NetworkSpec(backbone, (9, 5, 2), (32, 32)), 2, reduced=reduced)
    assert torch.randint(0, 2**31, (1,)).item() == following


def test_first_weights_of_a_seed() -> None:
    torch.manual_seed(3)
    network = networks.build(NetworkSpec("resnext50", (9, 5, 2), (32, 32)), 2, reduced=True)
    last = network.branches[1][1][0]
    assert isinstance(last, Bottleneck)
    given = [last.conv1.weight.flatten()[0].item(), last.downsample[0].weight.flatten()[0].item()]
    assert given == pytest.approx([-0.02852894552052021, -0.02481176145374775], rel=1e-5)
