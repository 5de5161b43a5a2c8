"""RIDE's routing gates: after each expert but the last, shall the next one be run as well?

Source: Wang et al., ICLR 2021, stage 2 ("expert assignment"), as in the authors' released code.
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from methods.core.batch import ExpertOutput
from methods.networks.heads import linear_head

HIDDEN = 16
"""Width of each gate's own layer."""


class RoutingGate(nn.Module):
    """ExpertOutput -> gate logits [B, E-1]; expert i+1 is run where sigmoid of gate i exceeds a threshold.

    Gate i sees the `top` largest logits, descending and not normalised, of the mean of experts 0..i, and expert i's
    feature at unit length (length clipped at 1e-12; the released code divides by zero there) through its own
    Linear(dim -> 16) and ReLU. The last Linear(top + 16 -> 1) is shared. Weights start Kaiming-normal.
    (E - 1) * 16 * (dim + 1) + top + 17 parameters: 1,615 for 3 experts, dim 48, top 30.
    """

    def __init__(self, experts: int, dim: int, top: int) -> None:
        super().__init__()
        self.top = top
        self.hidden = nn.ModuleList(linear_head(dim, HIDDEN) for _ in range(experts - 1))
        self.shared = linear_head(top + HIDDEN, 1)

    def forward(self, output: ExpertOutput) -> Float[Tensor, "batch gates"]:
        gates = len(self.hidden)
        seen = torch.arange(1, gates + 1, device=output.logits.device)[:, None]
        means = output.logits[:, :gates].cumsum(1) / seen
        features = F.normalize(output.features[:, :gates], dim=-1)
        hidden = torch.stack([layer(features[:, i]).relu() for i, layer in enumerate(self.hidden)], 1)
        inputs = torch.cat([means.topk(self.top, dim=-1).values, hidden], -1)
        return cast(Tensor, self.shared(inputs)).squeeze(-1)


class GatedExperts(nn.Module):
    """Images -> ExpertOutput of all `experts`; the `gate` is a module of its own, asked for by `gate_logits`.

    The gate takes no part in `forward`, so counted MACs are those of all experts without gates.
    """

    def __init__(self, experts: nn.Module, gate: RoutingGate) -> None:
        super().__init__()
        self.experts = experts
        self.gate = gate

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> ExpertOutput:
        return cast(ExpertOutput, self.experts(images))

    def gate_logits(self, output: ExpertOutput) -> Float[Tensor, "batch gates"]:
        """Return every gate of every image, [B, E-1], a pure function of `forward`'s logits and features."""
        return cast(Tensor, self.gate(output))
