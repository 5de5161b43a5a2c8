"""What every adapter refuses before it computes: wrong shapes, values not finite, priors of others."""

from numbers import Integral

from harness.adapters.parts.contract import _Named
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_finite
from methods.core.priors import ExpertPriors
from shifts.common.errors import BadInput


def check_evidence(
    adapter: _Named, evidence: Evidence, expert_priors: ExpertPriors | None = None
) -> tuple[int, int, int]:
    """Return the numbers of images, experts and classes of usable evidence.

    Raises ValueError where `adapter.missing` names a reason, where logits are not [N >= 1, E >= 1, C >= 2] or
    not finite (the first such image is named), and where `expert_priors` (if given) are not [E, C].
    """
    if (reason := adapter.missing(evidence)) is not None:
        raise ValueError(f"{adapter.name} does not apply: {reason}")
    if evidence.logits.ndim != 3:
        raise ValueError(f"logits must be [images, experts, classes], not of shape {evidence.logits.shape}")
    images, experts, classes = evidence.logits.shape
    if images < 1 or experts < 1 or classes < 2:
        raise ValueError(f"logits need an image, an expert and two classes; their shape is {evidence.logits.shape}")
    check_finite(evidence.logits, "logits", image_axis=0)
    if expert_priors is not None and expert_priors.values.shape != (experts, classes):
        raise ValueError(
            f"expert priors of shape {expert_priors.values.shape} do not belong to logits of {experts} "
            f"experts and {classes} classes"
        )
    return images, experts, classes


def check_seed(seed: object) -> None:
    """Raise BadInput for a seed that is no whole number from 0 on."""
    if not isinstance(seed, Integral) or seed < 0:
        raise BadInput(f"seed must be a whole number >= 0, not {seed!r}")
