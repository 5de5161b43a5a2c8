"""Shifts of label sets: which images of a multi-label pool come nearest to wanted label marginals.

An image brings all its labels, so marginals cannot always be met exactly: images are chosen greedily in a seeded random
order, and what was reached is reported as a total variation (`miss`) between both.
"""

import numpy as np
from jaxtyping import Float, Int, UInt8

from shifts.common.errors import BadInput
from shifts.labels.distance import normalise, total_variation
from shifts.labels.kinds import KINDS
from shifts.labels.shift import Shift

TOLERANCE = 0.02
"""Total variation between wanted and reached label marginals that is near enough."""


def wanted_marginals(shift: Shift, rank: Int[np.ndarray, " classes"]) -> Float[np.ndarray, " classes"]:
    """Return the label marginals that a shift asks for, summing to one, as class priors of single-label shifts do.

    forward_lt: r^(-rank / (C - 1)); backward_lt: the same with ranks reversed; uniform: equal. Raises BadInput for
    other kinds (`natural` asks for none).
    """
    if not shift.traits.of_label_sets or shift.traits.prior is None:
        possible = ", ".join(name for name, kind in KINDS.items() if kind.of_label_sets)
        raise BadInput(f"shift {shift} needs one label an image; multi-label data take {possible}")
    return normalise(shift.traits.prior(rank, **shift.values))


def miss(labels: UInt8[np.ndarray, "drawn classes"], shift: Shift, rank: Int[np.ndarray, " classes"]) -> float | None:
    """Return the TV between a drawn set's label marginals and those that the shift asks for; None for `natural`."""
    return None if shift.kind == "natural" else total_variation(labels.sum(axis=0), wanted_marginals(shift, rank))


def select(
    labels: UInt8[np.ndarray, "pool classes"], wanted: Float[np.ndarray, " classes"], seed: int
) -> Int[np.ndarray, " drawn"]:
    """Return the indices, int64 ascending, of the largest set found with label marginals near `wanted` [C].

    Near means a total variation within `TOLERANCE`; if no set is near, the nearest one is returned. Images are added
    one by one. Each time it is the image that brings the marginals q nearest to the wanted ones w, in
    sum_c (q_c - w_c)^2 / w_c (Pearson's chi-squared: rare labels count as much as common ones). Ties, and images of the
    same label set, are taken in an order seeded by `seed`. Images without a label are left out. Raises BadInput for a
    label that is wanted and not in the pool.
    """
    absent = np.flatnonzero((wanted > 0) & (labels.sum(axis=0) == 0))
    if len(absent):
        raise BadInput(f"no image of the pool has label {absent[0]}")
    order = np.random.RandomState(seed).permutation(np.flatnonzero(labels.any(axis=1)))
    sets, first, which, stock = np.unique(
        labels[order], axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    # Sets stand in the order in which they first come, so that the seed settles ties.
    by_first = np.argsort(first)
    rank = np.argsort(by_first)
    steps = _path(sets[by_first].astype(np.float64), stock[by_first], wanted)
    taken = np.bincount(steps, minlength=len(sets))
    turn = _occurrence(rank[which.ravel()])
    return np.sort(order[turn < taken[rank[which.ravel()]]])


def _path(
    sets: Float[np.ndarray, "sets classes"], stock: Int[np.ndarray, " sets"], wanted: Float[np.ndarray, " classes"]
) -> Int[np.ndarray, " steps"]:
    """Return label sets in the order in which they are added, as far as they are kept."""
    stock, sizes, weight = stock.copy(), sets.sum(axis=1), 1 / np.maximum(wanted, 1e-12)
    counts = np.zeros(len(wanted))
    steps: list[int] = []
    kept, least = 0, np.inf
    for _ in range(int(stock.sum())):
        marginals = (counts + sets) / (counts.sum() + sizes)[:, None]
        distance = ((marginals - wanted) ** 2) @ weight
        distance[stock == 0] = np.inf
        step = int(distance.argmin())
        steps.append(step)
        counts += sets[step]
        stock[step] -= 1
        miss = 0.5 * float(np.abs(counts / counts.sum() - wanted).sum())
        if miss <= max(least, TOLERANCE):
            kept, least = len(steps), miss
    return np.asarray(steps[:kept], dtype=np.int64)


def _occurrence(values: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Count how often each value stood there before: 0, 0, 1 for a, b, a."""
    order = np.argsort(values, kind="stable")
    counts = np.bincount(values)
    turn = np.empty_like(order)
    turn[order] = np.arange(len(values)) - np.repeat(counts.cumsum() - counts, counts)
    return turn
