"""Bias and variance of the 0-1 loss over models of one method, and the confidence of the hardest negative.

Source: Domingos, A unified bias-variance decomposition, ICML 2000, which RIDE (Wang et al., ICLR 2021) applies to
long-tailed recognition. The noise of the labels is taken as zero, so that bias holds whatever every model gets wrong.
Training draws of one pool overlap: the largest class has the same images in each, a tail class nearly none. So the
variance of many-shot classes comes mostly from the train seeds and is a lower bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import softmax, stdtrit

PARTS = ("error", "bias", "variance", "costly", "lucky")


@dataclass(frozen=True)
class Decomposition:
    """Parts of the expected 0-1 loss of each image, float64 [N], all in [0, 1].

    error: share of models that are wrong. bias: 1 where the main prediction is wrong, else 0. variance: share of
    models that differ from the main prediction. costly: the variance of images whose main prediction is right; each
    such deviation is an error. lucky: share of models that are right where the main prediction is wrong.
    error = bias + costly - lucky; with two classes, costly and lucky add up to the variance.

    The main prediction is the mode over models. Tied modes count in equal shares, as if one of them were chosen by
    lot: then bias is the share of tied modes that are wrong, and no class is favoured for its index.
    """

    error: Float[np.ndarray, " images"]
    bias: Float[np.ndarray, " images"]
    variance: Float[np.ndarray, " images"]
    costly: Float[np.ndarray, " images"]
    lucky: Float[np.ndarray, " images"]


def decompose(
    predictions: Int[np.ndarray, "models images"], labels: Int[np.ndarray, " images"], classes: int
) -> Decomposition:
    """Decompose the 0-1 loss of each image over the models' predicted classes (Domingos 2000, section 3).

    The mode comes from the same models as the deviations from it, so that variance grows with the number of models:
    compare methods over equally many. Raises ValueError for no model, shapes that do not fit and classes out of range.
    """
    given, truth = np.asarray(predictions).astype(np.int64), np.asarray(labels).astype(np.int64)
    if given.ndim != 2 or 0 in given.shape or truth.shape != given.shape[1:]:
        raise ValueError(f"predictions of shape {given.shape} for {truth.shape} labels")
    if min(given.min(), truth.min()) < 0 or max(given.max(), truth.max()) >= classes:
        raise ValueError(f"predictions and labels must lie in 0..{classes - 1}")
    models, images = given.shape
    places = np.arange(images)
    votes = np.zeros((images, classes), dtype=np.int64)
    for predicted in given:
        votes[places, predicted] += 1
    most = votes.max(axis=1)
    modes = votes == most[:, None]
    right = votes[places, truth] / models
    # Every tied mode has the same number of votes, so the lot decides bias alone.
    bias = 1 - modes[places, truth] / modes.sum(axis=1)
    variance = 1 - most / models
    return Decomposition(
        error=1 - right, bias=bias, variance=variance, costly=(1 - bias) * variance, lucky=bias * right
    )


def tied(predictions: Int[np.ndarray, "models images"], classes: int) -> float:
    """Return the share of images whose mode over the models is tied."""
    votes = np.stack([(np.asarray(predictions) == c).sum(axis=0) for c in range(classes)])
    return float(((votes == votes.max(axis=0)).sum(axis=0) > 1).mean())


def hardest_negative(
    logits: Float[np.ndarray, "images classes"], labels: Int[np.ndarray, " images"]
) -> Float[np.ndarray, " images"]:
    """Return the highest softmax probability among an image's wrong classes, float64 [N] in [0, 1].

    RIDE compares it between methods on tail classes. Raises ValueError for shapes that do not fit or a single class.
    """
    values, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels).astype(np.int64)
    if values.ndim != 2 or values.shape[1] < 2 or truth.shape != values.shape[:1]:
        raise ValueError(f"logits of shape {values.shape} for {truth.shape} labels")
    probabilities = softmax(values, axis=1)
    probabilities[np.arange(len(truth)), truth] = -1
    hardest: Float[np.ndarray, " images"] = probabilities.max(axis=1)
    return hardest


def by_group(
    values: Float[np.ndarray, " images"],
    labels: Int[np.ndarray, " images"],
    groups: Mapping[str, Int[np.ndarray, " group"]],
) -> dict[str, float | None]:
    """Return the mean of the class means over the classes of each group that have images; None for a group without any.

    `all` (mean over classes with images) comes first. Classes count alike, as in the accuracies of shot groups.
    """
    truth = np.asarray(labels).astype(np.int64)
    total = np.bincount(truth)
    sums = np.bincount(truth, weights=values)
    wanted = {"all": np.arange(len(total)), **groups}
    result: dict[str, float | None] = {}
    for name, members in wanted.items():
        present = members[members < len(total)]
        present = present[total[present] > 0]
        result[name] = float((sums[present] / total[present]).mean()) if len(present) else None
    return result


def jackknife(value: float, left_out: Sequence[float] | ArrayLike, level: float = 0.95) -> tuple[float, float] | None:
    """Return the interval of a statistic of models.

    It is made from the statistic's values without one group of models each (here: one training draw).
    value +- t(n - 1) * sqrt((n - 1) / n * sum (v_i - mean v)^2) over the n values of `left_out` (Efron, The
    Jackknife, 1982; delete-a-group). Resampling with replacement would not do: a model that is there twice agrees
    with itself and lowers the variance. None for fewer than three groups: without one of two models, the variance is 0.
    """
    values = np.asarray(left_out, dtype=np.float64)
    n = len(values)
    if n < 3:
        return None
    error = float(np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum()))
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * error
    return value - half, value + half
