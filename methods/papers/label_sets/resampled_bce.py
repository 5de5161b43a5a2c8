"""resampled_bce (Shen et al., ECCV 2016): binary cross entropy on class-aware batches ("RS").

Loss: that of `bce`; each draw takes a class uniformly, then an image that has it, p = (1/K) (1/N_k) for each of its
labels, so labels that come with rare ones are seen more often too. An epoch is as long as the training set (released
sampler of Wu et al., ECCV 2020: max_k N_k * K / 4 draws, three images of a class in a row).
Expected mAP total / head / medium / tail (ResNet-50, LTML's Table 1): VOC-MLT 75.38 / 70.95 / 82.94 / 73.05,
COCO-MLT 46.97 / 47.58 / 50.55 / 41.70. Spread on VOC-MLT about 0.7 a seed.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from methods.papers.label_sets.bce import Bce


@dataclass(frozen=True)
class ResampledBce(Bce):
    name: ClassVar[str] = "resampled_bce"
    sampler: Literal["uniform", "class_aware"] = "class_aware"
