"""ResNets and ResNeXt for 224-pixel images as experts: shared stem and layers 1-2, layers 3-4 and head an expert's own.

Source: He et al., CVPR 2016; Xie et al., CVPR 2017; RIDE's released layout, which SADE uses too. The blocks are
torchvision's: stride on the 3x3 convolution, projected shortcuts. `reduced` narrows layers 3-4 from 256/512 to 192/384
planes (before the Bottleneck's x4); ResNeXt's grouped convolutions there are 384 and 768 wide. ResNet-152 is never
narrowed: pre-trained weights fit full widths, and SADE's configuration for Places-LT has those.
With three reduced experts and 1000 classes, ResNet-10 / ResNet-50 / ResNeXt-50 have 9,401,792 / 43,677,248 /
42,889,024 parameters and 1.18 / 5.80 / 6.09 G MACs at 224 x 224.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

from torch import nn

from methods.expert import NetworkSpec
from methods.networks.expert_network import ExpertNetwork, Head
from methods.networks.heads import CosineHead
from methods.networks.vision import torchvision_resnet
from shifts.errors import check_name


class Layout(NamedTuple):
    """Blocks of layers 1-4 and what they are made of; `reducible`: whether `reduced` narrows the experts' layers."""

    block: str
    blocks: tuple[int, int, int, int]
    groups: int = 1
    group_width: int = 64
    reducible: bool = True


LAYOUTS = {
    "resnet10": Layout("BasicBlock", (1, 1, 1, 1)),
    "resnet50": Layout("Bottleneck", (3, 4, 6, 3)),
    "resnext50": Layout("Bottleneck", (3, 4, 6, 3), groups=32, group_width=4),
    "resnet152": Layout("Bottleneck", (3, 8, 36, 3), reducible=False),
}
STEM = 64
PLANES = (64, 128, 256, 512)
REDUCED_PLANES = (64, 128, 192, 384)


class ImageNetExperts(ExpertNetwork):
    """Layers 1-2 shared, layers 3-4 of each expert's own; convolutions start N(0, 2 / (k * k * channels out)).

    Sides are halved by the stem's convolution, its pooling, and layers 2, 3 and 4.
    """

    def __init__(self, layout: Layout, planes: Sequence[int], experts: int, classes: int, head: Head) -> None:
        resnet = torchvision_resnet()
        stem = nn.Sequential(
            nn.Conv2d(3, STEM, 7, 2, 3, bias=False), nn.BatchNorm2d(STEM), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        expansion: int = getattr(resnet, layout.block).expansion
        widths = [STEM, *(expansion * width for width in planes)]

        def layer(number: int) -> nn.Sequential:
            stride = 1 if number == 0 else 2
            return _layer(resnet, layout, widths[number], planes[number], layout.blocks[number], stride)

        super().__init__(
            stem,
            shared=nn.Sequential(layer(0), layer(1)),
            branches=[nn.Sequential(layer(2), layer(3)) for _ in range(experts)],
            dim=widths[-1],
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.add_heads(head, classes)


def imagenet_resnet(spec: NetworkSpec, experts: int, *, reduced: bool, head: Head = CosineHead) -> ImageNetExperts:
    """The network that `spec.backbone` names, with `experts` branches and freshly initialised.

    Raises BadInput for other backbones and where torchvision is not installed.
    """
    layout = LAYOUTS[check_name("backbone", spec.backbone, LAYOUTS)]
    planes = REDUCED_PLANES if reduced and layout.reducible else PLANES
    return ImageNetExperts(layout, planes, experts, spec.classes, head)


def _layer(resnet: ModuleType, layout: Layout, width_in: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    """`blocks` of torchvision's blocks; the first has the stride and, where shapes change, a projected shortcut."""
    block: Any = getattr(resnet, layout.block)
    width = planes * block.expansion
    shortcut = None
    if stride != 1 or width_in != width:
        shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    groups: dict[str, int] = {"groups": layout.groups, "base_width": layout.group_width}
    first = block(width_in, planes, stride, shortcut, **groups)
    return nn.Sequential(first, *(block(width, planes, **groups) for _ in range(blocks - 1)))
