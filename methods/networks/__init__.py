"""Network pieces: experts on a shared trunk, heads, gates, and counting. `build` finds a backbone by name."""

from methods.expert import NetworkSpec
from methods.networks.cifar_resnet import BLOCKS, expert_resnet
from methods.networks.expert_network import ExpertNetwork, Head
from methods.networks.heads import CosineHead
from methods.networks.imagenet_resnet import LAYOUTS, imagenet_resnet
from shifts.errors import check_name

BACKBONES = (*BLOCKS, *LAYOUTS)
"""Backbones for small images (CIFAR), then those for 224-pixel ones, which need torchvision."""


def build(spec: NetworkSpec, experts: int, *, reduced: bool, head: Head = CosineHead) -> ExpertNetwork:
    """The backbone that `spec` names with `experts` branches, freshly initialised; `reduced` narrows the branches.

    Raises BadInput for an unknown backbone, and for a missing torchvision where the backbone needs it.
    """
    check_name("backbone", spec.backbone, BACKBONES)
    family = expert_resnet if spec.backbone in BLOCKS else imagenet_resnet
    return family(spec, experts, reduced=reduced, head=head)
