"""Running a gated network so that images which stopped really skip the later experts.

Source: Wang et al., ICLR 2021, test time of stage 2: the same decisions as thresholding all gates afterwards, but an
expert's branch only sees the images that still want it, and none is run once no image is left.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from methods.networks.expert_network import ExpertNetwork
from methods.networks.routing import GatedExperts


def forward_routed(
    network: GatedExperts, images: Float[Tensor, "batch 3 height width"], threshold: float
) -> tuple[Float[Tensor, "batch classes"], Int[Tensor, " batch"]]:
    """Return mean logits of the experts that each image was shown to, and how many these were (1..E).

    threshold: probability that a gate must exceed for the next expert. Raises TypeError for a network whose experts
    are no ExpertNetwork, so that they cannot be run one by one.
    """
    experts, gate = network.experts, network.gate
    if not isinstance(experts, ExpertNetwork):
        raise TypeError(f"{type(experts).__name__} cannot be run expert by expert")
    shared = experts.shared(experts.stem(images))
    total = images.new_zeros(())
    used = torch.ones(len(images), dtype=torch.long, device=images.device)
    active = torch.arange(len(images), device=images.device)
    for number, (branch, head) in enumerate(zip(experts.branches, experts.heads, strict=True)):
        features = branch(shared).mean((2, 3))
        logits = head(features)
        total = logits if number == 0 else total.index_add(0, active, logits)
        if number == len(gate.hidden):
            break
        hidden = gate.hidden[number](F.normalize(features, dim=-1)).relu()
        top = (total[active] / (number + 1)).topk(gate.top, dim=-1).values
        asked = gate.shared(torch.cat([top, hidden], -1)).squeeze(-1)
        on = asked.sigmoid() > threshold
        active = active[on]
        if len(active) == 0:
            break
        if len(active) < len(on):
            shared = shared[on]
        used[active] += 1
    return total / used[:, None], used
