"""ResNets and ResNeXt for 224-pixel images as experts: shared stem and layers 1-2, layers 3-4 and head an expert's own.
Where asked for, layer 3 is shared too.

Source: He et al., CVPR 2016; Xie et al., CVPR 2017; RIDE's released layout, which SADE uses too. `reduced`
narrows layers 3-4 from 256/512 to 192/384 planes (before the Bottleneck's x4); ResNeXt's grouped convolutions there are
384 and 768 wide. ResNet-152 is never narrowed: pre-trained weights fit full widths, and SADE's configuration for
Places-LT has those.
With three reduced experts and 1000 classes, ResNet-10 / ResNet-50 / ResNeXt-50 have 9,401,792 / 43,677,248 /
42,889,024 parameters and 1.18 / 5.80 / 6.09 G MACs at 224 x 224.
"""

from typing import NamedTuple

from torch import nn

from methods.core.batch import NetworkSpec
from methods.networks.blocks import BasicBlock, Block, Bottleneck
from methods.networks.expert_network import ExpertNetwork, Head
from methods.networks.heads import CosineHead
from methods.networks.pretrained import load_pretrained
from shifts.common.errors import check_name


class Layout(NamedTuple):
    """Blocks of layers 1-4 and what they are made of; `reducible`: whether `reduced` narrows the experts' layers."""

    block: type[Block]
    blocks: tuple[int, int, int, int]
    groups: int = 1
    group_width: int = 64
    reducible: bool = True


LAYOUTS = {
    "resnet10": Layout(BasicBlock, (1, 1, 1, 1)),
    "resnet50": Layout(Bottleneck, (3, 4, 6, 3)),
    "resnext50": Layout(Bottleneck, (3, 4, 6, 3), groups=32, group_width=4),
    "resnet152": Layout(Bottleneck, (3, 8, 36, 3), reducible=False),
}
STEM = 64
PLANES = (64, 128, 256, 512)
REDUCED_PLANES = (64, 128, 192, 384)
EARLY = {"conv1": ["stem.0"], "bn1": ["stem.1"], "layer1": ["shared.0"], "layer2": ["shared.1"]}
"""Where the parts of torchvision's networks that experts share lie in ours."""


class Layers:
    """Makes the parts of one backbone, uninitialised.

    widths: channels of the stem and of layers 1-4. Sides are halved by the stem's convolution, its pooling, and
    layers 2, 3 and 4.
    """

    def __init__(self, backbone: str, *, reduced: bool = False) -> None:
        self.layout = LAYOUTS[check_name("backbone", backbone, LAYOUTS)]
        self.planes = REDUCED_PLANES if reduced and self.layout.reducible else PLANES
        self.widths = (STEM, *(self.layout.block.expansion * planes for planes in self.planes))

    def stem(self) -> nn.Sequential:
        """Return the stem: images [B, 3, H, W] -> [B, 64, H / 4, W / 4]."""
        return nn.Sequential(
            nn.Conv2d(3, STEM, 7, 2, 3, bias=False), nn.BatchNorm2d(STEM), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )

    def layer(self, number: int) -> nn.Sequential:
        """Return layer 1, 2, 3 or 4; its first block has the stride and, where shapes change, a projected shortcut."""
        stride = 1 if number == 1 else 2
        before, width, planes = self.widths[number - 1], self.widths[number], self.planes[number - 1]
        block, groups, group_width = self.layout.block, self.layout.groups, self.layout.group_width
        first = block(before, planes, stride, groups=groups, group_width=group_width)
        rest = (
            block(width, planes, groups=groups, group_width=group_width)
            for _ in range(self.layout.blocks[number - 1] - 1)
        )
        return nn.Sequential(first, *rest)


def initialise(network: nn.Module) -> None:
    """Draw convolutions from N(0, 2 / (k * k * channels out)), in order of `network.modules()`."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def imagenet_resnet(
    spec: NetworkSpec, experts: int, *, reduced: bool, head: Head = CosineHead, last_only: bool = False
) -> ExpertNetwork:
    """Build the network that `spec.backbone` names, with `experts` branches; fresh but for `spec.pretrained`'s weights.

    last_only: layer 3 is shared too, so that a branch is layer 4 and a head. Raises BadInput for other backbones
    and for weights that do not fit.
    """
    layers = Layers(spec.backbone, reduced=reduced)
    own = (4,) if last_only else (3, 4)
    network = ExpertNetwork(
        layers.stem(),
        shared=nn.Sequential(*(layers.layer(number) for number in range(1, own[0]))),
        branches=[nn.Sequential(*map(layers.layer, own)) for _ in range(experts)],
        dim=layers.widths[-1],
    )
    initialise(network)
    if spec.pretrained is not None:
        parts = EARLY | {f"layer{number}": [f"shared.{number - 1}"] for number in range(3, own[0])}
        for place, number in enumerate(own):
            parts[f"layer{number}"] = [f"branches.{expert}.{place}" for expert in range(experts)]
        load_pretrained(network, spec.pretrained, parts)
    network.add_heads(head, spec.classes)
    return network
