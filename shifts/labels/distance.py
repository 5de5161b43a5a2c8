"""Distances between label distributions; every argument may be a prior or counts, it is normalised first."""

import numpy as np
from jaxtyping import Float


def normalise(weights: Float[np.ndarray, "*rest classes"]) -> Float[np.ndarray, "*rest classes"]:
    """Scale rows to sum to one (float64). Raises ValueError on NaN, infinite, negative or all-zero rows."""
    values = np.asarray(weights, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError("a label distribution needs at least one class")
    if not np.isfinite(values).all():
        raise ValueError("a label distribution holds NaN or infinite values")
    if (values < 0).any():
        raise ValueError("a label distribution holds negative values")
    # Divided by the largest value first: tiny or huge weights neither underflow nor overflow their sum.
    largest = values.max(axis=-1, keepdims=True)
    if (largest == 0).any():
        raise ValueError("a label distribution is zero everywhere")
    values = values / largest
    return values / values.sum(axis=-1, keepdims=True)


def total_variation(p: Float[np.ndarray, " classes"], q: Float[np.ndarray, " classes"]) -> float:
    """Return TV(p, q) = 1/2 sum_c |p_c - q_c|, in [0, 1]. Raises ValueError on unequal lengths or no distribution."""
    first, second = _two(p, q)
    return float(min(0.5 * np.abs(first - second).sum(), 1.0))


def js_divergence(p: Float[np.ndarray, " classes"], q: Float[np.ndarray, " classes"]) -> float:
    """Return the Jensen-Shannon divergence (KL(p | m) + KL(q | m)) / 2, m = (p + q) / 2, in nats, in [0, ln 2].

    Source: Lin, "Divergence Measures Based on the Shannon Entropy", IEEE Transactions on Information Theory 1991.

    Raises ValueError as `total_variation`.
    """
    first, second = _two(p, q)
    both = first + second  # not its half, which is zero for the smallest numbers
    shares = [(side[side > 0], both[side > 0]) for side in (first, second)]  # 0 log 0 = 0
    return float(np.clip(sum((side * np.log(2 * (side / whole))).sum() for side, whole in shares) / 2, 0, np.log(2)))


def relative_error(p: Float[np.ndarray, " classes"], q: Float[np.ndarray, " classes"], images: int) -> float:
    """Return RAE(p, q), the mean over classes of |p_c - q_c| / q_c: estimate p, truth q of a set of `images` images.

    Both are smoothed first, (p_c + e) / (1 + C e) with e = 1 / (2 images), since a class may have no image.
    Source: Gonzalez, Castano, Chawla and del Coz, "A Review on Quantification Learning", ACM Computing Surveys 2017.

    Raises ValueError as `total_variation`.
    """
    added = 1 / (2 * images)
    first, second = ((side + added) / (1 + len(side) * added) for side in _two(p, q))
    return float((np.abs(first - second) / second).mean())


def match_distance(p: Float[np.ndarray, " classes"], q: Float[np.ndarray, " classes"]) -> float:
    """Return NMD(p, q) = sum_k |sum_{c <= k} (p_c - q_c)| / (C - 1), in [0, 1]: how far along the classes mass is off.

    The order of the classes counts: give them from head to tail.
    Source: Sakai, "Comparing Two Binned Probability Distributions for Information Access Evaluation", SIGIR 2018.

    Raises ValueError as `total_variation`.
    """
    first, second = _two(p, q)
    return float(np.abs(np.cumsum(first - second)[:-1]).sum() / max(len(first) - 1, 1))


def etvd(priors: Float[np.ndarray, "experts classes"]) -> float:
    """Return the environment total variation distance: the largest TV between two experts' environments, in [0, 1].

    0 for a single expert. Raises ValueError on rows that are no distributions.
    """
    rows = normalise(_table(priors))
    pairs = 0.5 * np.abs(rows[:, None, :] - rows[None, :, :]).sum(axis=-1)
    return float(min(pairs.max(), 1.0))


def tv_experts_test_mean(
    priors: Float[np.ndarray, "experts classes"], test_prior: Float[np.ndarray, " classes"]
) -> float:
    """Return (1/N) sum_m TV(E_m, E_test), the first distance term of the ensemble's risk bound, in [0, 1].

    The bound: R_test(f) <= (1/N) sum_m R_m(f_m) + 2M ((1/N) sum_m TV(E_m, E_test) + (N-1)/N * ETVD).
    """
    return float(np.mean([total_variation(row, test_prior) for row in _table(priors)]))


def _table(priors: Float[np.ndarray, "experts classes"]) -> Float[np.ndarray, "experts classes"]:
    table = np.asarray(priors, dtype=np.float64)
    if table.ndim != 2 or len(table) == 0:
        raise ValueError(f"priors of experts have shape [experts, classes]; given {table.shape}")
    return table


def _two(
    p: Float[np.ndarray, " classes"], q: Float[np.ndarray, " classes"]
) -> tuple[Float[np.ndarray, " classes"], Float[np.ndarray, " classes"]]:
    first, second = normalise(p), normalise(q)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"two priors of one length are needed; given: {first.shape} and {second.shape}")
    return first, second
