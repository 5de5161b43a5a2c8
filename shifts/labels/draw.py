"""Which images: counts, labels, a rule and a seed become indices into a pool."""

import hashlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from shifts.common.errors import BadInput, check_name
from shifts.labels.shift import RULES

SOURCE_PER_CLASS = 200
SOURCE_TOTAL = 5000


def draw(
    labels: Int[np.ndarray, " pool"],
    counts: Int[np.ndarray, " classes"],
    rule: str = "seeded-shuffle",
    seed: int = 0,
) -> Int[np.ndarray, " drawn"]:
    """Draw without replacement. Return indices, class by class in class order; int64.

    `seeded-shuffle` (LDAM, RIDE, SADE, BalPoE, PRL): one legacy generator, `RandomState(seed)`; for each class
    its indices in dataset order are shuffled in place and the first `counts[c]` kept. `first-n` (SHIKE): the
    first `counts[c]` in dataset order. Raises BadInput if a class has fewer images than asked for.
    """
    check_name("draw rule", rule, RULES)
    generator = np.random.RandomState(seed)
    parts = []
    for c, members in _by_class(labels, len(counts)):
        if counts[c] > len(members):
            raise BadInput(f"class {c} has {len(members)} images in the pool; {counts[c]} are asked for")
        if rule == "seeded-shuffle":
            # Also where nothing or everything is kept: the generator's state is part of the published draw.
            generator.shuffle(members)
        parts.append(members[: counts[c]])
    return np.concatenate(parts)


def draw_with_replacement(
    labels: Int[np.ndarray, " pool"], counts: Int[np.ndarray, " classes"], seed: int = 0
) -> Int[np.ndarray, " drawn"]:
    """Draw `counts[c]` images of each class, each image as often as chance has it. Return indices by class, int64.

    For tables of estimation errors alone: accuracies of such sets are not those of the published draws. Raises
    BadInput for a class without images in the pool of which some are asked for.
    """
    generator = np.random.RandomState(seed)
    parts = []
    for c, members in _by_class(labels, len(counts)):
        if counts[c] and not len(members):
            raise BadInput(f"class {c} has no image in the pool; {counts[c]} are asked for")
        if counts[c]:
            parts.append(generator.choice(members, counts[c], replace=True))
    return np.concatenate(parts)


def left_out(
    labels: Int[np.ndarray, " pool"],
    drawn: Int[np.ndarray, " drawn"],
    classes: int,
    per_class: int | None = None,
    seed: int = 0,
    held_out: bool = False,
) -> tuple[Int[np.ndarray, " source"], int]:
    """Return a class-balanced set of labelled source images, and how many of them were trained on.

    Each class gives `per_class` images (default min(200, 5000 // classes)) that the training draw left out,
    filled up with drawn ones where too few are left; a class with fewer images than that gives all it has.
    held_out: nothing is filled up where every class has some that were left out, as after a draw that kept them back.
    Indices are int64, class by class.
    """
    wanted = min(SOURCE_PER_CLASS, max(SOURCE_TOTAL // classes, 1)) if per_class is None else per_class
    generator = np.random.RandomState(seed)
    trained = np.zeros(len(labels), dtype=bool)
    trained[drawn] = True
    left = np.bincount(labels[~trained], minlength=classes)
    most = np.minimum(wanted, left) if held_out and left.all() else np.full(classes, wanted)
    parts = []
    for c, members in _by_class(labels, classes):
        fresh, seen = members[~trained[members]], members[trained[members]]
        generator.shuffle(fresh)
        generator.shuffle(seen)
        parts.append(np.concatenate([fresh, seen])[: most[c]])
    indices = np.concatenate(parts)
    return indices, int(trained[indices].sum())


def indices_sha256(indices: Int[np.ndarray, " drawn"]) -> str:
    """Return the SHA-256 (hex) of the indices, sorted, as little-endian int64: equal for the same images."""
    return hashlib.sha256(np.sort(np.asarray(indices)).astype("<i8").tobytes()).hexdigest()


def _by_class(labels: Int[np.ndarray, " pool"], classes: int) -> Iterator[tuple[int, Int[np.ndarray, " members"]]]:
    """Yield each class and its indices in dataset order (a fresh int64 array)."""
    order = np.argsort(labels, kind="stable").astype(np.int64)
    ends = np.cumsum(np.bincount(labels, minlength=classes))
    for c in range(classes):
        yield c, order[ends[c - 1] if c else 0 : ends[c]].copy()
