"""class_balanced_focal (Cui et al., CVPR 2019): focal loss weighted by the effective number of each label's images.

Loss: `focal` of an image times the mean, over its labels, of (1 - beta) / (1 - beta^N_k), beta = 0.9: the default of
the released benchmark (Wu et al., ECCV 2020), where the paper weighs by the one class of an image. With beta = 0.9 only
labels with fewer than about 30 images weigh more than the others, and those weigh about 0.1.
Expected mAP total / head / medium / tail (ResNet-50, LTML's Table 1): VOC-MLT 75.24 / 70.30 / 83.53 / 72.74,
COCO-MLT 49.06 / 47.91 / 53.01 / 44.85. Spread on VOC-MLT about 0.7 a seed.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from methods.core.batch import Batch
from methods.losses import class_balanced_focal
from methods.papers.label_sets.shared import OneBranch


@dataclass(frozen=True)
class ClassBalancedFocal(OneBranch):
    name: ClassVar[str] = "class_balanced_focal"
    beta: float = 0.9
    gamma: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.beta < 1 or self.gamma < 0:
            raise ValueError(f"beta must lie in 0..1 and gamma be >= 0, not {self.beta:g} and {self.gamma:g}")

    def loss(self, logits: Float[Tensor, "batch classes"], labels: Float[Tensor, "batch classes"], of: Batch) -> Tensor:
        """Return the class-balanced focal loss."""
        return class_balanced_focal(logits, labels, of.counts, self.beta, self.gamma)
