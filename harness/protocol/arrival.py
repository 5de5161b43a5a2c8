"""The order in which a draw's images are shown to an adapter, as the protocol makes it.

An order in which the label prior moves is part of the scene and made from labels, as a draw is; a stream adapter is
given images alone. Every order has all the images of the draw, so what it has seen in the end does not depend on it.

Source: square, sinusoidal, bernoulli and monotone are the shifts of Bai et al., "Adapting to Online Label Shift with
Provable Guarantees", NeurIPS 2022, and of Baby et al., "Online Label Shift", NeurIPS 2023, which draw each batch anew;
class_correlated is that of Gong et al., "NOTE", NeurIPS 2022, and Yuan et al., "RoTTA", CVPR 2023. `drift` is ours.
"""

import numpy as np
from jaxtyping import Float, Int

from harness.adapters.parts.streams import BATCH, Order
from shifts.labels.profiles import class_rank

DRIFT_RATIO = 100.0
CORRELATION = 0.1
"""The parameter of the Dirichlet distribution by which a class is spread over time."""

MOST_SLOTS = 100
_ROUNDS = 100


def arrival(
    order: Order,
    labels: Int[np.ndarray, " drawn"],
    train_counts: Int[np.ndarray, " classes"],
    seed: int,
    batch: int = BATCH,
) -> Int[np.ndarray, " drawn"]:
    """Return the positions in the draw, in the order of arrival; `seed` is the draw's, `batch` the images of a batch.

    `shuffled`: a permutation that does not look at `labels`. `drift`: an image of the class with rank r in 0..1 (0 =
    head) arrives at a random time u in 0..1 with density proportional to R^((1/2 - u)(1 - 2r)), R = 100. So head
    against tail is R times the draw's own ratio at the beginning and 1/R times at the end: on a uniform draw the label
    prior moves from `forward_lt-100` to `backward_lt-100`, nearly.
    `monotone`, `sinusoidal`, `square`, `bernoulli`: batches t = 0, 1, ... of T have a mixture (1 - a_t) R^(1/2 - r) +
    a_t R^(r - 1/2) of the same two ends, with a_t as `mixture` says. `class_correlated`: each class is spread over
    min(C, 100) stretches of time by a Dirichlet(0.1) draw; in a stretch one class comes after the other.
    """
    generator = np.random.default_rng(seed)
    if order == "shuffled":
        return generator.permutation(len(labels))
    rank = class_rank(train_counts, by_index=False) / (len(train_counts) - 1)
    if order == "drift":
        times = _drifting(rank[labels], generator)
    elif order == "class_correlated":
        times = _correlated(labels, len(train_counts), generator)
    else:
        shares = mixture(order, -(-len(labels) // batch), generator)
        times = _batched(labels, rank, shares, batch, generator)
    return np.argsort(times, kind="stable")


def mixture(order: Order, batches: int, generator: np.random.Generator) -> Float[np.ndarray, " batches"]:
    """Return a_t, the share of the second of two priors in each batch; L = floor(sqrt T).

    `monotone`: t / (T - 1). `sinusoidal`: sin(pi (t mod L) / L). `square`: 0 and 1 in turn, L batches each.
    `bernoulli`: 0 at first, then swapped before each batch with probability 1 / sqrt T.
    """
    steps, length = np.arange(batches), int(np.sqrt(batches))
    if order == "monotone":
        return steps / max(batches - 1, 1)
    if order == "sinusoidal":
        return np.asarray(np.sin(np.pi * (steps % length) / length))
    if order == "square":
        return steps // length % 2.0
    swapped = generator.random(batches) < 1 / np.sqrt(batches)
    swapped[0] = False
    return np.cumsum(swapped) % 2.0


def _drifting(rank: Float[np.ndarray, " drawn"], generator: np.random.Generator) -> Float[np.ndarray, " drawn"]:
    speed = np.log(DRIFT_RATIO) * (2 * rank - 1)
    even = generator.random(len(rank))
    # Inverse of the distribution function of a density proportional to exp(speed u) on 0..1; its limit at 0 is `even`.
    flat = np.abs(speed) < 1e-9
    speed = np.where(flat, 1.0, speed)
    return np.where(flat, even, np.log1p(even * np.expm1(speed)) / speed)


def _batched(
    labels: Int[np.ndarray, " drawn"],
    rank: Float[np.ndarray, " classes"],
    shares: Float[np.ndarray, " batches"],
    batch: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, " drawn"]:
    """Return times at which batches have about their sizes and classes all their images.

    The table of classes by batches keeps the odds of the mixture and is fitted to both margins in turn.
    """
    found, images = np.unique(labels, return_counts=True)
    batches = len(shares)
    sizes = np.full(batches, float(batch))
    sizes[-1] = len(labels) - batch * (batches - 1)
    ends = DRIFT_RATIO ** (0.5 - rank[found])
    table = (1 - shares) * ends[:, None] + shares / ends[:, None]
    for _ in range(_ROUNDS):
        table *= (images / table.sum(axis=1))[:, None]
        table *= sizes / table.sum(axis=0)
    times = np.empty(len(labels))
    for label, row in zip(found, table, strict=True):
        mine = labels == label
        reached = np.concatenate([[0.0], np.cumsum(row)])
        even = generator.random(mine.sum()) * reached[-1]
        times[mine] = np.interp(even, reached, np.arange(batches + 1))
    return times


def _correlated(
    labels: Int[np.ndarray, " drawn"], classes: int, generator: np.random.Generator
) -> Float[np.ndarray, " drawn"]:
    slots = min(classes, MOST_SLOTS)
    times = np.empty(len(labels))
    place = np.stack([generator.permutation(classes) for _ in range(slots)]) / classes
    for label in np.unique(labels):
        mine = labels == label
        shares = generator.dirichlet(np.full(slots, CORRELATION))
        slot = generator.choice(slots, mine.sum(), p=shares)
        times[mine] = slot + place[slot, label]
    return times
