"""Network pieces: experts on a shared trunk, heads, gates, and counting. `build` finds a backbone by name."""

from methods.core.batch import NetworkSpec
from methods.networks.cifar_resnet import BLOCKS, expert_resnet
from methods.networks.expert_network import ExpertNetwork, Head
from methods.networks.heads import CosineHead
from methods.networks.imagenet_resnet import LAYOUTS, imagenet_resnet
from shifts.common.errors import check_name

BACKBONES = (*BLOCKS, *LAYOUTS)
"""Backbones for small images (CIFAR), then those for 224-pixel ones."""


def check(backbone: str) -> None:
    """Raise BadInput for an unknown backbone."""
    check_name("backbone", backbone, BACKBONES)


def build(
    spec: NetworkSpec, experts: int, *, reduced: bool, head: Head = CosineHead, last_only: bool = False
) -> ExpertNetwork:
    """Build the backbone that `spec` names with `experts` branches; `reduced` narrows the branches.

    A branch is the last two stages and a head, or the last stage and a head (`last_only`). Freshly initialised, but for
    what `spec.pretrained` holds. Raises BadInput for an unknown backbone and for pre-trained weights that do not fit.
    """
    check(spec.backbone)
    family = expert_resnet if spec.backbone in BLOCKS else imagenet_resnet
    return family(spec, experts, reduced=reduced, head=head, last_only=last_only)
