"""bce: one network trained with plain binary cross entropy on label sets, the multi-label lower reference ("ERM").

Loss: mean over images and labels of BCE(sigma(z_k), y_k). Re-sampling alone is `resampled_bce`, the re-weighted form
`ltml:branches=uniform,compensation=false`.
Expected mAP total / head / medium / tail (ResNet-50, LTML's Table 1): VOC-MLT 70.86 / 68.91 / 80.20 / 65.31,
COCO-MLT 41.27 / 48.48 / 49.06 / 24.25. Spread on VOC-MLT about 0.7 a seed (the maintainers of the benchmark).
The published recipe here departs from the benchmark's: see `methods.core.recipe`.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from methods.core.batch import Batch
from methods.losses import binary_cross_entropy
from methods.papers.label_sets.shared import OneBranch


@dataclass(frozen=True)
class Bce(OneBranch):
    name: ClassVar[str] = "bce"

    def loss(self, logits: Float[Tensor, "batch classes"], labels: Float[Tensor, "batch classes"], of: Batch) -> Tensor:
        """Return plain binary cross entropy."""
        return binary_cross_entropy(logits, labels)
