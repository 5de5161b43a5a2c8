"""As `cm_ml`, with a Dirichlet prior on the test prior.

Source: Sipka, Sulc and Matas, WACV 2022 (SCM-M, CM-M), with its a = 3.
Equation: q maximises sum_k d_k log (M q)_k + ((a - 1) / n) sum_c log q_c for n test images (see `cm_ml`).
Prediction: mean logits + log q - log target_prior.
Failures: those of `cm_ml` but for lost classes. The pull towards the uniform prior is a - 1 images a class: with few
images and many classes the answer is the prior's, not the images'.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from harness.adapters.cm_ml import likeliest_mixture
from harness.adapters.parts.confusion import Confusion, ConfusionAdapter
from harness.adapters.parts.contract import PerClass


@dataclass(frozen=True)
class CmMap(ConfusionAdapter):
    """The mode under a symmetric Dirichlet(a) prior; a = 1 is `cm_ml`."""

    name: ClassVar[str] = "cm_map"

    a: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.a < 1:
            raise ValueError(f"a must be at least 1, not {self.a}")

    def ratios(self, source: Confusion, found: Float[np.ndarray, " predictions"], images: int) -> PerClass:
        return likeliest_mixture(source, found, (self.a - 1) / images) / source.prior
