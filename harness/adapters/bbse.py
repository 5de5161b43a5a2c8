"""Black-box shift estimation: the confusion matrix of source images, inverted.

Source: Lipton, Wang and Smola, ICML 2018; soft predictions as in Azizzadenesheli et al., ICLR 2019.
Equation: A w = q_pred with A = P(prediction, label) on the source and q_pred the mean prediction on the test images;
q = normalise(max(s w, 0)) with s the source prior. Of several solutions the one nearest to w = 1 (no shift).
Prediction: mean logits + log q - log target_prior, logarithms clipped at 1e-12.
`kind`: `soft` by default. Soft predictions use what the argmax throws away, and estimate better in the published
comparisons (Garg et al., NeurIPS 2020; Alexandari et al., ICML 2020), though the guarantee of 2018 is for hard ones.
Failures: it inverts A, so noise grows where classes are confused: unbiased, but of high variance with few images;
classes that come out below zero are set to zero and are then lost to the prediction.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from harness.adapters.parts.confusion import Confusion, ConfusionAdapter
from harness.adapters.parts.contract import PerClass


@dataclass(frozen=True)
class Bbse(ConfusionAdapter):
    """Least-squares inversion of the confusion matrix."""

    name: ClassVar[str] = "bbse"

    def ratios(self, source: Confusion, found: Float[np.ndarray, " predictions"], images: int) -> PerClass:
        return source.ratios(found)
