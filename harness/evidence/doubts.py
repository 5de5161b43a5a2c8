"""What is odd in evidence and moves results, though nothing of it is forbidden: a line each, for who made the file."""

import numpy as np
from jaxtyping import Float, Int

from harness.evidence.arrays import PoolEvidence
from methods.core.priors import LOG_FLOOR

FAR = 50.0
"""How many usual spreads a labelled class may lie below an image's highest one."""


def doubts(pool: PoolEvidence) -> list[str]:
    """Return what is odd: logits far against their labels, experts whose prior leaves a trained class out."""
    source = pool.evidence.source
    found = [_far("logits", pool.evidence.logits, pool.labels, "the NLL and ECE of rows follow")]
    if source is not None:
        found.append(_far("source_logits", source.logits, source.labels, "calibration follows"))
    return [text for text in [*found, _left_out(pool)] if text]


def far_images(
    logits: Float[np.ndarray, "images experts classes"], labels: Int[np.ndarray, " images"]
) -> tuple[Int[np.ndarray, " far"], float, float]:
    """Return the images whose labelled class lies absurdly far below another one; how far at most; the usual spread.

    The spread is the median over images of the highest logit less the median one, of the mean of experts. Classes that
    are masked do not count unless they are an image's own, nor does a high logit of the right class: softmax ignores
    them, and so does calibration.
    """
    mean = logits.mean(axis=1, dtype=np.float64)
    highest = mean.max(axis=1)
    short = highest - mean[np.arange(len(labels)), labels]
    usual = float(np.median(highest - np.median(mean, axis=1)))
    return np.flatnonzero(short > FAR * usual), float(short.max()), usual


def _far(
    key: str, logits: Float[np.ndarray, "images experts classes"], labels: Int[np.ndarray, " images"], why: str
) -> str:
    images, most, usual = far_images(logits, labels)
    if not len(images):
        return ""
    return (
        f"{key}: in {len(images):,} of {len(labels):,} images, first image {images[0]}, the labelled class lies up to "
        f"{most:.3g} below the highest, where {usual:.3g} is usual; {why} such images"
    )


def _left_out(pool: PoolEvidence) -> str:
    """Return the doubt about the first expert that gives a class no share; empty where there is none.

    All classes have training images, so such an expert was not trained on the class.
    """
    experts, classes = np.nonzero(pool.expert_priors.values == 0)
    if not len(experts):
        return ""
    return (
        f"expert_priors: expert {experts[0]} gives class {classes[0]} no share, though it has training images "
        f"({len(experts):,} such zeros); adapters that correct priors take {LOG_FLOOR:g}"
    )
