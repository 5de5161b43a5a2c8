"""The last layer, and answers that are kept, for adapters on stored features (no adapter)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from harness.adapters.parts.contract import Logits
from harness.evidence.arrays import Evidence
from harness.evidence.check import check_finite
from harness.evidence.heads import Classifiers


@dataclass(frozen=True)
class Answered:
    """Answers that were found while images were read, [N, C]; they are no function of an image alone."""

    logits: Logits
    prior: None = None
    weights: None = None

    def predict(self, evidence: Evidence) -> Logits:
        """Return the answers of the images that were read, in their order. Raises ValueError for another number."""
        if len(evidence.logits) != len(self.logits):
            raise ValueError(f"{len(self.logits)} images were read; {len(evidence.logits)} are to be predicted")
        return self.logits


def usable_classifiers(evidence: Evidence) -> tuple[Classifiers, Float32[np.ndarray, "images experts dim"]]:
    """Return classifiers and features. Raises ValueError where they are missing, not finite or not of these logits."""
    classifiers, features = evidence.classifiers, evidence.features
    if classifiers is None or features is None:
        raise ValueError("the last layer needs evidence with classifiers and features")
    images, experts, classes = evidence.logits.shape
    made_for, dim, made = classifiers.weights.shape
    if features.shape != (images, experts, dim) or (made_for, made) != (experts, classes):
        raise ValueError(
            f"features of shape {features.shape} and classifiers of shape {classifiers.weights.shape} do not belong to "
            f"logits of shape {evidence.logits.shape}"
        )
    check_finite(features, "features", image_axis=0)
    return classifiers, features


def unit(values: Float32[np.ndarray, "... dim"]) -> Float32[np.ndarray, "... dim"]:
    """Return the values divided by their length along the last axis; zero stays zero."""
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values / np.where(lengths == 0, 1, lengths), dtype=np.float32)
