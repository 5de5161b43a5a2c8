"""The kinds of shift, one entry each. Parsing, messages, `--list`, tables and figures read these entries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from shifts.common.errors import BadInput
from shifts.labels.custom import read_custom
from shifts.labels.profiles import fitted_counts, largest_set, profile_weights


@dataclass(frozen=True, eq=False)
class Pool:
    """A test pool as a shift sees it: images of each class, and each class's rank in the training set (0 = head)."""

    counts: Int[np.ndarray, " classes"]
    rank: Int[np.ndarray, " classes"]
    class_names: Sequence[str] | None = None


@dataclass(frozen=True)
class ShiftKind:
    """One kind of shift.

    takes: the fields of `Shift` that belong to the kind, out of ratio, alpha, seed, path and rule.
    example: a text that names such a shift. about: one line on the example.
    counts(pool, **values): images of each class; the values are the fields of `takes` without rule.
    prior(rank, **values): the class prior, or the label marginals, that the shift aims at. A kind without `counts`
    takes the largest set of this prior; a kind with neither names its images itself.
    letter: stands for the name in the short form, as in F50.
    side: -1 forward, 0 uniform, 1 backward; None for a kind without a place on this line.
    of_label_sets: whether a multi-label pool can give such a shift.
    """

    name: str
    takes: tuple[str, ...]
    example: str
    about: str
    counts: Callable[..., Int[np.ndarray, " classes"]] | None = None
    prior: Callable[..., Float[np.ndarray, " classes"]] | None = None
    letter: str = ""
    side: int | None = None
    of_label_sets: bool = False

    @property
    def order_free(self) -> bool:
        """Whether the order of the classes is random, so that no method can profit from knowing it."""
        return "seed" in self.takes

    @property
    def form(self) -> str:
        """The example with its meaning, for messages."""
        return f"{self.example} ({self.about})"


def _long_tailed(kind: str, pool: Pool, rank: Int[np.ndarray, " classes"], ratio: float) -> Int[np.ndarray, " classes"]:
    return fitted_counts("exp", ratio, pool.counts, rank, pool.class_names, f"{kind} ratio")


def _tail(rank: Int[np.ndarray, " classes"], ratio: float) -> Float[np.ndarray, " classes"]:
    return np.asarray(profile_weights("exp", ratio, len(rank)))[rank]


def _reversed(rank: Int[np.ndarray, " classes"]) -> Int[np.ndarray, " classes"]:
    return len(rank) - 1 - rank


def _shuffled(pool: Pool, ratio: float, seed: int) -> Int[np.ndarray, " classes"]:
    order = np.random.RandomState(seed).permutation(len(pool.counts))
    return _long_tailed("shuffled_lt", pool, np.argsort(order, kind="stable"), ratio)


def _dirichlet(rank: Int[np.ndarray, " classes"], alpha: float, seed: int) -> Float[np.ndarray, " classes"]:
    """Draw a class prior from Dir(alpha, ..., alpha), with NumPy's legacy generator."""
    with np.errstate(all="ignore"):
        prior = np.random.RandomState(seed).dirichlet(np.full(len(rank), alpha))
    if not np.isfinite(prior).all() or abs(prior.sum() - 1) > 1e-6:
        raise BadInput(f"shift dirichlet: alpha {alpha} is so small that the draw underflows; 0.01 and more work")
    return prior


def _custom(pool: Pool, path: str) -> Int[np.ndarray, " classes"]:
    what, values = read_custom(path, pool.counts, pool.class_names)
    return values.astype(np.int64) if what == "counts" else largest_set(values / values.sum(), pool.counts)


KINDS = {
    kind.name: kind
    for kind in (
        ShiftKind(
            "forward_lt",
            ("ratio", "rule"),
            example="forward_lt-50",
            about="long-tailed in the training set's class order, ratio 50",
            counts=lambda pool, ratio: _long_tailed("forward_lt", pool, pool.rank, ratio),
            prior=_tail,
            letter="F",
            side=-1,
            of_label_sets=True,
        ),
        ShiftKind(
            "uniform",
            ("rule",),
            example="uniform",
            about="every class equally often: the whole pool where it is balanced",
            counts=lambda pool: np.full(len(pool.counts), pool.counts.min()),
            prior=lambda rank: np.full(len(rank), 1 / len(rank)),
            letter="U",
            side=0,
            of_label_sets=True,
        ),
        ShiftKind(
            "backward_lt",
            ("ratio", "rule"),
            example="backward_lt-50",
            about="long-tailed in the reverse of that order, ratio 50",
            counts=lambda pool, ratio: _long_tailed("backward_lt", pool, _reversed(pool.rank), ratio),
            prior=lambda rank, ratio: _tail(_reversed(rank), ratio),
            letter="B",
            side=1,
            of_label_sets=True,
        ),
        ShiftKind(
            "shuffled_lt",
            ("ratio", "seed", "rule"),
            example="shuffled_lt-50-s3",
            about="long-tailed over a permutation of the classes, ratio 50, permutation of seed 3",
            counts=_shuffled,
        ),
        ShiftKind(
            "dirichlet",
            ("alpha", "seed", "rule"),
            example="dirichlet-0.1-s7",
            about="class prior drawn from Dirichlet(0.1), with seed 7",
            prior=_dirichlet,
        ),
        ShiftKind(
            "custom",
            ("path", "rule"),
            example="custom-FILE.json",
            about="class weights or counts from a file",
            counts=_custom,
        ),
        ShiftKind(
            "list",
            ("path",),
            example="list-FILE",
            about="the images that a published or own list names, lines `path label` or `index label`",
        ),
        ShiftKind(
            "natural",
            ("rule",),
            example="natural",
            about="the pool as it is",
            counts=lambda pool: pool.counts.copy(),
            of_label_sets=True,
        ),
    )
}
"""Name -> kind, in the order of listings and tables."""
