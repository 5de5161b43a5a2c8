"""The prior that makes the predictions on the test images likeliest, by the source's confusion matrix.

Source: Sipka, Sulc and Matas, "The Hitchhiker's Guide to Prior-Shift Adaptation", WACV 2022 (SCM-L, CM-L), solved here
without its projected gradient.
Equation: q maximises sum_k d_k log (M q)_k over the simplex, with M_kc the mean posterior of class k over source images
of class c and d_k that over the test images. That is the likelihood of `harness.adapters.parts.likelihood` with
predictions in the place of images; multiplicative updates q_c <- q_c sum_k d_k M_kc / (M q)_k climb it too.
Prediction: mean logits + log q - log target_prior, logarithms clipped at 1e-12.
`kind`: `soft` by default; `hard` counts the argmax. A prediction that no source image gets is left out.
Failures: where `bbse` is a prior it is the same one; where that is negative, this lies on the edge of the simplex and
the class is lost to the prediction. Noise grows where classes are confused, as for every inversion.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from harness.adapters.parts.confusion import Confusion, ConfusionAdapter
from harness.adapters.parts.contract import PerClass, Prior
from harness.adapters.parts.likelihood import likeliest_prior
from methods.core.priors import LOG_FLOOR, normalise


@dataclass(frozen=True)
class CmMl(ConfusionAdapter):
    """Maximum likelihood of the predictions, never negative."""

    name: ClassVar[str] = "cm_ml"

    def ratios(self, source: Confusion, found: Float[np.ndarray, " predictions"], images: int) -> PerClass:
        return likeliest_mixture(source, found) / source.prior


def likeliest_mixture(source: Confusion, found: Float[np.ndarray, " predictions"], added: float = 0.0) -> Prior:
    """Return argmax sum_k found_k log (M q)_k + `added` sum_c log q_c; the source's prior where nothing is known."""
    means = source.joint / source.prior
    heard = means.max(axis=1) > LOG_FLOOR
    if not found[heard].any():
        return source.prior
    shares = normalise(found[heard])
    return likeliest_prior(means[heard], source.prior, added * len(shares), weights=shares)
