"""The CIFAR ResNet family as experts: shared stem and first stage (or two), later stages and head of each expert's own.

Source: He et al., CVPR 2016 (section 4.2); RIDE's released layout, which SADE, BalPoE and PRL use unchanged.
`reduced` narrows the experts' own stages by 3/4 (16/24/48). With three reduced experts, 100 classes, ResNet-32
has 783,856 parameters.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from methods.core.batch import NetworkSpec
from methods.networks.expert_network import ExpertNetwork, Head
from methods.networks.heads import CosineHead
from shifts.common.errors import check_name

BLOCKS = {"resnet8": 1, "resnet14": 2, "resnet20": 3, "resnet32": 5}
"""Residual blocks in each of the three stages; depth = 6 * blocks + 2."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a parameter-free shortcut (option A).

    Where shapes change the shortcut takes every second pixel and pads channels with zeros, half on each side.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.stride = stride
        self.padding = (width - width_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1 or self.padding:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return self.relu(out.add_(x))


def stage(width_in: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """Return `blocks` residual blocks; the first has the stride."""
    return nn.Sequential(BasicBlock(width_in, width, stride), *(BasicBlock(width, width, 1) for _ in range(blocks - 1)))


class ExpertResNet(ExpertNetwork):
    """Experts share stem and stage 1 and have their own stages 2-3 and head; convolutions start Kaiming-normal.

    last_only: stage 2 is shared too.
    """

    def __init__(
        self,
        blocks: int,
        widths: tuple[int, int, int],
        experts: int,
        classes: int,
        head: Head,
        *,
        last_only: bool = False,
    ) -> None:
        stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        shared = stage(widths[0], widths[0], blocks, 1)
        own: tuple[int, ...] = widths
        if last_only:
            shared = nn.Sequential(*shared, *stage(widths[0], widths[1], blocks, 2))
            own = widths[1:]
        branches = [
            nn.Sequential(*(stage(before, width, blocks, 2) for before, width in pairwise(own))) for _ in range(experts)
        ]
        super().__init__(stem, shared, branches, dim=widths[-1])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        self.add_heads(head, classes)


def expert_resnet(
    spec: NetworkSpec, experts: int, *, reduced: bool, head: Head = CosineHead, last_only: bool = False
) -> ExpertResNet:
    """Build the CIFAR ResNet that `spec.backbone` names, with `experts` branches. Raises BadInput for other names."""
    blocks = BLOCKS[check_name("backbone", spec.backbone, BLOCKS)]
    widths = (16, 24, 48) if reduced else (16, 32, 64)
    return ExpertResNet(blocks, widths, experts, spec.classes, head, last_only=last_only)
