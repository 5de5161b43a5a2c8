"""Images of a Gaussian mixture and a model that knows it, so that estimates can be compared with the truth."""

import numpy as np

from harness.evidence.arrays import Evidence, Source
from methods.core.priors import ExpertPriors

CLASSES = 10
UNIFORM = np.full(CLASSES, 1 / CLASSES)
SKEWED = 0.4 ** np.arange(CLASSES) / (0.4 ** np.arange(CLASSES)).sum()
COUNTS = np.full(CLASSES, 100)
PRIORS = ExpertPriors(UNIFORM[None], exact=True)


def simulated(
    prior: np.ndarray, images: int, seed: int = 0, sharpness: float = 1.0, source: int = 0
) -> tuple[Evidence, np.ndarray]:
    """Images of a Gaussian mixture and a model that knows it, exactly where `sharpness` is 1; with source images."""
    rng = np.random.default_rng(seed)
    means = 2.2 * np.eye(CLASSES)

    def logits(labels: np.ndarray) -> np.ndarray:
        points = means[labels] + rng.normal(size=(len(labels), CLASSES))
        return (sharpness * points @ means.T)[:, None].astype(np.float32)

    labels = rng.choice(CLASSES, images, p=prior)
    known = np.arange(source * CLASSES) % CLASSES
    return Evidence(logits(labels), source=Source(logits(known), known, 0) if source else None), labels
