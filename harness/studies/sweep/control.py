"""What a sweep over preferences reaches: control strength, the points that nothing beats, the volume under them."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike


def controllability(points: ArrayLike, many: ArrayLike | None, few: ArrayLike | None) -> float | None:
    """Return the Spearman correlation over P points of (alpha of the last expert - that of the first) and (few - many).

    points: [P, E]; many, few: accuracies [P]. None without one of the groups, or where either side is constant.
    """
    if many is None or few is None:
        return None
    alpha = np.asarray(points, dtype=np.float64)
    # Shares are multiples of a step, accuracies ratios of counts, but for rounding, which must not break ties.
    asked = np.round(alpha[:, -1] - alpha[:, 0], 9)
    got = np.round(np.asarray(few, dtype=np.float64) - np.asarray(many, dtype=np.float64), 12)
    if np.ptp(asked) == 0 or np.ptp(got) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(asked, got).statistic)


def non_dominated(values: Float[np.ndarray, "points aims"]) -> Bool[np.ndarray, " points"]:
    """Return whether no other point is at least as good in every aim and better in one; equals are kept together."""
    at_least = (values[None, :, :] >= values[:, None, :]).all(axis=2)
    better = (values[None, :, :] > values[:, None, :]).any(axis=2)
    return np.asarray(~np.any(at_least & better, axis=1))


def hypervolume(values: Float[np.ndarray, "points aims"]) -> float:
    """Return the volume of the union of the boxes from the origin to each point.

    All aims are non-negative and maximised.
    Source: Zitzler and Thiele 1998; by slices along the last aim. Raises ValueError for no point or negative values.
    """
    if values.ndim != 2 or 0 in values.shape or not (values >= 0).all():
        raise ValueError(f"a hypervolume needs non-negative points [points, aims], not of shape {values.shape}")
    if values.shape[1] == 1:
        return float(values.max())
    ordered = values[np.argsort(-values[:, -1], kind="stable")]
    depths = ordered[:, -1] - np.append(ordered[1:, -1], 0.0)
    if values.shape[1] == 2:
        return float(np.maximum.accumulate(ordered[:, 0]) @ depths)
    return sum(
        float(depth) * hypervolume(ordered[: number + 1, :-1]) for number, depth in enumerate(depths) if depth > 0
    )
