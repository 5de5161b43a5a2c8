"""Heads that a hypernetwork makes from a preference over experts.

Source: Zhao et al., NeurIPS 2024. An MLP turns a point of the preference space into the cosine classifiers of all
experts, so a change of preference needs features only, no forward pass of the trunk.
"""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from methods.core.batch import ExpertOutput
from methods.networks.heads import SCALE, linear_head

HIDDEN = 128

Combine = Literal["product", "sum"]


class PreferenceHead(nn.Module):
    """Features [B, E, D] and a preference -> logits [B, E, C] through generated cosine classifiers, s = 30.

    The trainable vector r [E] (positive, starting at ones) and a preference alpha [E] make the hypernetwork's input:
    `product`: rhat = r * alpha / <r, alpha>, on the simplex; `sum`: r + alpha, scaled so that its least entry is 0
    and its largest 1 (all 0 where they are equal). The MLP E -> 128 -> 128 -> 128, with ReLU between, is followed by
    a linear map to E heads [D, C]. Linear weights start Kaiming-normal.
    """

    def __init__(self, experts: int, dim: int, classes: int, combine: Combine = "product") -> None:
        super().__init__()
        self.shape = (experts, dim, classes)
        self.combine = combine
        self.free = nn.Parameter(torch.ones(experts).expm1().log())  # r = softplus(free)
        self.mlp = nn.Sequential(
            linear_head(experts, HIDDEN),
            nn.ReLU(),
            linear_head(HIDDEN, HIDDEN),
            nn.ReLU(),
            linear_head(HIDDEN, HIDDEN),
        )
        self.generate = linear_head(HIDDEN, experts * dim * classes)

    @property
    def preference(self) -> Float[Tensor, " experts"]:
        """The trainable preference vector r, positive."""
        return F.softplus(self.free)

    def point(self, preference: Float[Tensor, "*heads experts"]) -> Float[Tensor, "*heads experts"]:
        """Return the hypernetwork's input for alpha = `preference`, in float32."""
        if self.combine == "product":
            weighted = self.preference * preference
            return weighted / weighted.sum(-1, keepdim=True)
        moved = self.preference + preference
        low, high = moved.amin(-1, keepdim=True), moved.amax(-1, keepdim=True)
        return (moved - low) / (high - low).clamp_min(torch.finfo(moved.dtype).tiny)

    def centre(self) -> Float[Tensor, " experts"]:
        """Return the preference in use where none is given: equal shares or, for `sum`, zeros (r itself)."""
        return torch.full_like(self.free, 1 / self.shape[0] if self.combine == "product" else 0.0)

    def weights(self, preference: Float[Tensor, "*heads experts"]) -> Float[Tensor, "experts dim classes"]:
        """Return the experts' classifiers for one preference [E], or expert i's for preference i of [E, E]."""
        points = self.point(preference).view(-1, self.shape[0])
        made = self.generate(self.mlp(points)).view(-1, *self.shape)
        return made[0] if preference.ndim == 1 else made.diagonal().movedim(-1, 0)

    def forward(
        self, features: Float[Tensor, "batch experts dim"], preference: Float[Tensor, "*heads experts"] | None = None
    ) -> Float[Tensor, "batch experts classes"]:
        """Return logits for one preference [E] or one for each expert [E, E]; the centre where None.

        Raises ValueError for another shape and (on the CPU) for a preference that is negative, or zero everywhere.
        """
        alpha = self.centre() if preference is None else preference
        self._check(alpha)
        weights = F.normalize(self.weights(alpha), dim=1)
        return SCALE * torch.einsum("bed,edc->bec", F.normalize(features, dim=-1), weights)

    def _check(self, preference: Tensor) -> None:
        experts = self.shape[0]
        if preference.shape not in ((experts,), (experts, experts)):
            raise ValueError(f"a preference must be [{experts}] or [{experts}, {experts}], not {preference.shape}")
        if preference.device.type == "cpu":
            empty = self.combine == "product" and bool((preference.sum(-1) <= 0).any())
            if empty or not bool((preference >= 0).all()):
                raise ValueError("a preference must not be negative, nor zero for all experts")


class PreferenceNetwork(nn.Module):
    """Images [B, 3, H, W] -> ExpertOutput for a preference: a trunk (whose own heads are not used) and its head."""

    def __init__(self, trunk: nn.Module, head: PreferenceHead) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], preference: Float[Tensor, "*heads experts"] | None = None
    ) -> ExpertOutput:
        """Return logits for one preference [E] or one for each expert [E, E]; the centre where None."""
        features = self.trunk(images).features
        return ExpertOutput(self.head_logits(features, preference), features)

    def head_logits(
        self, features: Float[Tensor, "batch experts dim"], preference: Float[Tensor, "*heads experts"] | None = None
    ) -> Float[Tensor, "batch experts classes"]:
        """Return logits from features alone: all that a preference costs once features are known."""
        return cast(Tensor, self.head(features, preference))
