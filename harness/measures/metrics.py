"""Numbers from predictions: accuracy by shot group, calibration, and what lets a reader recompute them.

Definitions: shot groups come from *train* counts (Liu et al., CVPR 2019: many > 100, medium 20..100, few <
20); a group's accuracy is the mean of its classes' accuracies, over classes present in the draw. ECE: Guo et
al., ICML 2017, 15 equal-width bins (low, high] of the top label's confidence. NLL and entropy are in nats.
All in float64.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from methods.core.priors import normalise
from shifts.common.blocks import row_blocks
from shifts.common.errors import WorkFailed
from shifts.labels.distance import total_variation

METRICS_VERSION = 1
"""Raised whenever a number below changes for the same input; part of every row's identity."""

BINS = 15


@dataclass(frozen=True)
class Accuracy:
    """What a draw's labels say of predictions, in plain Python types.

    top1, many, medium, few, macro: fractions; a group without a class in the draw is None. per_class_*, predicted: one
    value a class, in class-index order.
    """

    n: int
    top1: float
    many: float | None
    medium: float | None
    few: float | None
    macro: float
    per_class_correct: tuple[int, ...]
    per_class_total: tuple[int, ...]
    predicted: tuple[int, ...]


@dataclass(frozen=True)
class Metrics(Accuracy):
    """Everything a row says of one draw, in plain Python types (JSON as they are).

    ece: a fraction; nll, entropy: nats. bins_*: one value a reliability bin (bins_confidence: sum of confidences).
    correct_bits: `pack_bits`, images by class, then by dataset position.
    """

    nll: float
    ece: float
    entropy: float
    bins_count: tuple[int, ...]
    bins_correct: tuple[int, ...]
    bins_confidence: tuple[float, ...]
    correct_bits: str


def accuracy(
    logits: Float[np.ndarray, "images classes"],
    labels: Int[np.ndarray, " images"],
    train_counts: Int[np.ndarray, " classes"],
    indices: Int[np.ndarray, " images"] | None = None,
) -> tuple[Accuracy, Bool[np.ndarray, " images"]]:
    """Return the accuracy of one draw and which images are right; the prediction is the argmax (ties: lowest class).

    Arguments and errors are those of `evaluate`.
    """
    labels, counts = np.asarray(labels), np.asarray(train_counts)
    if logits.ndim != 2 or len(logits) == 0 or counts.shape != logits.shape[1:]:
        raise ValueError(f"logits of shape {logits.shape} for {counts.shape} train counts")
    images, classes = logits.shape
    positions = np.arange(images) if indices is None else np.asarray(indices)
    if labels.shape != (images,) or positions.shape != (images,):
        raise ValueError(f"{images} logits, but labels {labels.shape} and indices {positions.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}")
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        image = positions[int(np.argmin(finite))]
        raise WorkFailed(f"the logits of test image {image} are not finite (NaN or infinite)")

    guesses = logits.argmax(axis=1)
    correct = guesses == labels
    total = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels[correct], minlength=classes)
    groups = group_accuracies(hits, total, shot_groups(counts))
    found = Accuracy(
        n=images,
        top1=float(correct.mean()),
        many=groups["many"],
        medium=groups["medium"],
        few=groups["few"],
        macro=float((hits[total > 0] / total[total > 0]).mean()),
        per_class_correct=tuple(hits.tolist()),
        per_class_total=tuple(total.tolist()),
        predicted=tuple(np.bincount(guesses, minlength=classes).tolist()),
    )
    return found, correct


def evaluate(
    logits: Float[np.ndarray, "images classes"],
    labels: Int[np.ndarray, " images"],
    train_counts: Int[np.ndarray, " classes"],
    indices: Int[np.ndarray, " images"] | None = None,
) -> Metrics:
    """Return all metrics of one draw.

    indices: each image's position in the dataset, which orders the bits and names a bad image; by default the
    position in `logits`. Raises WorkFailed naming the first image with logits that are not finite, ValueError
    for shapes that do not fit and labels out of range.
    """
    found, correct = accuracy(logits, labels, train_counts, indices)
    labels = np.asarray(labels)
    positions = np.arange(found.n) if indices is None else np.asarray(indices)
    guesses = logits.argmax(axis=1)
    nll, entropy, confidence = np.empty((3, found.n))
    for block in row_blocks(*logits.shape):
        log_probs = log_softmax(np.asarray(logits[block], dtype=np.float64), axis=1)
        probs, rows = np.exp(log_probs), np.arange(len(log_probs))
        nll[block] = -log_probs[rows, labels[block]]
        entropy[block] = -(probs * log_probs).sum(axis=1)
        confidence[block] = np.minimum(probs[rows, guesses[block]], 1.0)
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins_count = np.bincount(bins, minlength=BINS)
    bins_correct = np.bincount(bins[correct], minlength=BINS)
    bins_confidence = np.bincount(bins, weights=confidence, minlength=BINS)
    return Metrics(
        **vars(found),
        nll=float(nll.mean()),
        ece=ece_from_bins(bins_count, bins_correct, bins_confidence),
        entropy=float(entropy.mean()),
        bins_count=tuple(bins_count.tolist()),
        bins_correct=tuple(bins_correct.tolist()),
        bins_confidence=tuple(bins_confidence.tolist()),
        correct_bits=pack_bits(correct[np.lexsort((positions, labels))]),
    )


def shot_groups(train_counts: ArrayLike) -> dict[str, Int[np.ndarray, " group"]]:
    """Return the class indices of `many` (> 100 training images), `medium` (20..100) and `few` (< 20)."""
    counts = np.asarray(train_counts)
    many, few = counts > 100, counts < 20
    masks = {"many": many, "medium": ~many & ~few, "few": few}
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}


def group_accuracies(
    per_class_correct: ArrayLike,
    per_class_total: ArrayLike,
    groups: Mapping[str, Int[np.ndarray, " group"]],
) -> dict[str, float | None]:
    """Return the mean of per-class accuracies by group, over classes with images; None where a group has none.

    With `shot_groups` this recomputes many/medium/few from a stored row's per-class totals.
    """
    correct, total = np.asarray(per_class_correct), np.asarray(per_class_total)
    result: dict[str, float | None] = {}
    for name, members in groups.items():
        present = members[total[members] > 0]
        result[name] = float((correct[present] / total[present]).mean()) if len(present) else None
    return result


def ece_from_bins(bins_count: ArrayLike, bins_correct: ArrayLike, bins_confidence: ArrayLike) -> float:
    """Return the expected calibration error: sum over bins of |correct - sum of confidences| / n."""
    gaps = np.abs(np.asarray(bins_correct) - np.asarray(bins_confidence, dtype=np.float64))
    return float(gaps.sum() / np.asarray(bins_count).sum())


def pack_bits(correct: Bool[np.ndarray, " images"]) -> str:
    """Return booleans as base64 text, eight to a byte (first image = highest bit), padded with zeros."""
    return base64.b64encode(np.packbits(np.asarray(correct, dtype=bool)).tobytes()).decode("ascii")


def unpack_bits(text: str, n: int) -> Bool[np.ndarray, " images"]:
    """Return the first `n` booleans of `pack_bits` text. Raises ValueError for text of another length."""
    packed = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    if len(packed) != (n + 7) // 8:
        raise ValueError(f"{len(packed)} bytes of correctness bits cannot be those of {n} images")
    return np.unpackbits(packed, count=n).astype(bool)


def expected_top1(per_class_accuracy: ArrayLike, test_prior: ArrayLike) -> float:
    """Return the exact expectation sum_c q_c acc_c of top-1 over draws, for predictors that do not adapt to the draw.

    per_class_accuracy: [C] on the full pool; test_prior: [C] probabilities or counts. A class that the prior
    leaves out may have any accuracy, NaN too. Raises ValueError for other lengths, NaN where the prior is
    positive.
    """
    accuracy, prior = np.asarray(per_class_accuracy, dtype=np.float64), normalise(test_prior)
    if accuracy.shape != prior.shape:
        raise ValueError(f"accuracies {accuracy.shape} and prior {prior.shape} must be of the same classes")
    used = prior > 0
    if not np.isfinite(accuracy[used]).all():
        raise ValueError("a class of the test prior has no accuracy on the pool")
    return float(prior[used] @ accuracy[used])


def tv_predicted_test(metrics: Accuracy) -> float:
    """Return the total variation between the histogram of predicted labels and the true test prior."""
    return total_variation(np.array(metrics.predicted), np.array(metrics.per_class_total))


def tv_estimate_test(estimate: Float[np.ndarray, " classes"], per_class_total: ArrayLike) -> float:
    """Return the total variation between an adapter's prior estimate and the true test prior (realised counts / n)."""
    return total_variation(estimate, np.asarray(per_class_total))


def view_stability(
    views: Float[np.ndarray, "pairs 2 images experts classes"],
    labels: Int[np.ndarray, " images"],
    groups: Mapping[str, Int[np.ndarray, " group"]],
) -> dict[str, tuple[float, ...] | None]:
    """Return each expert's mean cosine between the softmax answers to an image's two views: SADE's premise.

    Result: `all` and each group of the true class -> one value an expert, means over the group's images; None
    for a group without images. A free diagnostic: it needs labels, so no adapter can use it.
    """
    labels = np.asarray(labels)
    by_image = np.zeros(views.shape[2:4])
    for pair in views:  # one at a time: the answers of all pairs at once would double the memory of the evidence
        answers = np.exp(pair - pair.max(axis=-1, keepdims=True))
        squares = np.einsum("vnec,vnec->vne", answers, answers)
        by_image += np.einsum("nec,nec->ne", answers[0], answers[1]) / np.sqrt(squares[0] * squares[1])
    by_image /= len(views)
    masks = {"all": np.ones(len(labels), dtype=bool)}
    masks |= {name: np.isin(labels, members) for name, members in groups.items()}
    return {name: tuple(by_image[mask].mean(axis=0).tolist()) if mask.any() else None for name, mask in masks.items()}
