"""The order in which a draw's images are shown to an adapter, as the protocol makes it.

A drifting order is part of the scene and made from labels, as a draw is; a stream adapter is given images alone.
"""

import numpy as np
from jaxtyping import Int

from harness.adapters.parts.streams import Order
from shifts.labels.profiles import class_rank

DRIFT_RATIO = 100.0


def arrival(
    order: Order, labels: Int[np.ndarray, " drawn"], train_counts: Int[np.ndarray, " classes"], seed: int
) -> Int[np.ndarray, " drawn"]:
    """Return the positions in the draw, in the order of arrival; `seed` is the draw's.

    `shuffled`: a permutation that does not look at `labels`. `drift`: an image of the class with rank r in 0..1 (0 =
    head) arrives at a random time u in 0..1 with density proportional to R^((1/2 - u)(1 - 2r)), R = 100. So head
    against tail is R times the draw's own ratio at the beginning and 1/R times at the end: on a uniform draw the label
    prior moves from `forward_lt-100` to `backward_lt-100`, nearly.
    """
    generator = np.random.default_rng(seed)
    if order == "shuffled":
        return generator.permutation(len(labels))
    rank = class_rank(train_counts, by_index=False)[labels] / (len(train_counts) - 1)
    speed = np.log(DRIFT_RATIO) * (2 * rank - 1)
    even = generator.random(len(labels))
    # Inverse of the distribution function of a density proportional to exp(speed u) on 0..1; its limit at 0 is `even`.
    flat = np.abs(speed) < 1e-9
    speed = np.where(flat, 1.0, speed)
    times = np.where(flat, even, np.log1p(even * np.expm1(speed)) / speed)
    return np.argsort(times, kind="stable")
