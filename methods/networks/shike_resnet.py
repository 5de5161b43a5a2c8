"""SHIKE's network: experts that fuse their own last stage with a shared shallow stage, each at a depth of its own.

Source: Jin et al., CVPR 2023 (depth-wise knowledge fusion), as in the authors' code: shared stages 1..L, last stage
replicated for each expert, shortcuts of option B (1x1 convolution and BatchNorm where shapes change). Expert k takes
shared stage k mod L, aligns it to the last stage's shape by strided convolutions and multiplies the two maps
(Hadamard product) before pooling. With L = 2 (CIFAR) experts 0 and 2 use the same depth, as released; networks for
224-pixel images have L = 3 (the paper's figure; no code was released for them).
With three experts and 100 classes, ResNet-32 has 1,277,008 parameters.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from methods.core.batch import ExpertOutput, NetworkSpec
from methods.networks.cifar_resnet import BLOCKS
from methods.networks.expert_network import ExpertNetwork
from methods.networks.heads import CosineHead
from methods.networks.imagenet_resnet import EARLY, LAYOUTS, Layers, initialise
from methods.networks.pretrained import load_pretrained
from shifts.common.errors import check_name


class ProjectionBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a projected shortcut where shapes change (option B)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out.add_(self.shortcut(x)))


def alignment_widths(base: int, shared: int, source: int) -> list[int]:
    """Return the channels along the chain that aligns shared stage `source` (from 0) of `shared` with the stage after.

    base: channels of shared stage 0; each stage has twice its predecessor's. The chain has d = shared - source steps,
    starts at base * 2^(shared - d) channels and doubles them at every step.
    """
    steps = shared - source
    return [base * 2 ** (shared - steps + step) for step in range(steps + 1)]


def alignment(widths: Sequence[int]) -> nn.Sequential:
    """Return the chain of 3x3 convolutions of stride 2 with BatchNorm through `widths`.

    A ReLU comes after each step but the second.
    The missing ReLU is the released code's: a chain of two steps may end below zero, a chain of one may not.
    """
    layers: list[nn.Module] = []
    for step, (width_in, width) in enumerate(pairwise(widths)):
        layers += [nn.Conv2d(width_in, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width)]
        if step != 1:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class ShikeNetwork(ExpertNetwork):
    """Images [B, 3, H, W] -> ExpertOutput; two cosine heads an expert, of which the second (`rt_heads`) answer.

    base: channels after the first shared stage, doubled by every later one. Stem, stages and branches come
    initialised; the convolutions of the alignment chains start as PyTorch's do (as released).
    """

    def __init__(
        self, stem: nn.Module, shared: Sequence[nn.Module], branches: Sequence[nn.Module], base: int, classes: int
    ) -> None:
        super().__init__(stem, nn.Sequential(*shared), branches, dim=base * 2 ** len(shared))
        self.alignments = nn.ModuleList(
            alignment(alignment_widths(base, len(shared), expert % len(shared))) for expert in range(len(branches))
        )
        self.add_heads(CosineHead, classes)
        self.rt_heads = nn.ModuleList(CosineHead(self.dim, classes) for _ in branches)

    def forward(self, images: Float[Tensor, "batch 3 height width"], retrained: bool = True) -> ExpertOutput:
        """Return logits of the re-trained heads; `retrained=False` (stage 1 of training): of the first heads."""
        shallow = []
        x = self.stem(images)
        for stage in cast(nn.Sequential, self.shared):
            x = stage(x)
            shallow.append(x)
        features = [
            (branch(x) * align(shallow[expert % len(shallow)])).mean((2, 3))
            for expert, (branch, align) in enumerate(zip(self.branches, self.alignments, strict=True))
        ]
        heads = self.rt_heads if retrained else self.heads
        logits = [head(feature) for head, feature in zip(heads, features, strict=True)]
        return ExpertOutput(torch.stack(logits, 1), torch.stack(features, 1))


def shike_resnet(spec: NetworkSpec, experts: int = 3) -> ShikeNetwork:
    """Build SHIKE on the backbone of `spec`, at full width; `spec.pretrained` starts all but alignments and heads.

    Raises BadInput for an unknown backbone and for pre-trained weights that do not fit.
    """
    if check_name("backbone", spec.backbone, (*BLOCKS, *LAYOUTS)) in BLOCKS:
        return small_network(BLOCKS[spec.backbone], (16, 32, 64), experts, spec.classes)
    layers = Layers(spec.backbone)
    stem, *shared = layers.stem(), layers.layer(1), layers.layer(2), layers.layer(3)
    branches = [layers.layer(4) for _ in range(experts)]
    initialise(nn.ModuleList([stem, *shared, *branches]))
    network = ShikeNetwork(stem, shared, branches, layers.widths[1], spec.classes)
    if spec.pretrained is not None:
        late = {"layer3": ["shared.2"], "layer4": [f"branches.{expert}" for expert in range(experts)]}
        load_pretrained(network, spec.pretrained, EARLY | late)
    return network


def small_network(blocks: int, widths: Sequence[int], experts: int, classes: int) -> ShikeNetwork:
    """Build CIFAR's ResNet with option-B shortcuts; widths: channels of its stages, all but the last of them shared."""
    stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
    shared = [_stage(before, width, blocks) for before, width in pairwise((widths[0], *widths[:-1]))]
    branches = [_stage(widths[-2], widths[-1], blocks) for _ in range(experts)]
    for module in nn.ModuleList([stem, *shared, *branches]).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return ShikeNetwork(stem, shared, branches, widths[0], classes)


def _stage(width_in: int, width: int, blocks: int) -> nn.Sequential:
    """Return `blocks` residual blocks; the first halves the sides where channels change."""
    stride = 1 if width_in == width else 2
    rest = (ProjectionBlock(width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(ProjectionBlock(width_in, width, stride), *rest)
