"""What rows say of the same images: correctness image by image, classes, places in the pool, McNemar's test."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int

from harness.measures.metrics import unpack_bits
from harness.records.rows import Row
from shifts.labels.draw import draw, indices_sha256


def correctness(row: Row) -> Bool[np.ndarray, " images"]:
    """Return whether each image of the row's draw is classified correctly; by class, then by place in the dataset.

    Raises ValueError for bits of another length.
    """
    return unpack_bits(row.correct_bits, row.n)


def image_classes(row: Row) -> Int[np.ndarray, " images"]:
    """Return the class of each image of the row's draw, in the order of `correctness`."""
    return np.repeat(np.arange(len(row.per_class_total)), row.per_class_total)


def pool_counts(rows: Iterable[Row]) -> dict[str, Int[np.ndarray, " classes"]]:
    """Return the images of each class in the test pool, by `test_fingerprint`, as far as rows tell.

    A row tells it if its draw is the whole pool. Then the hash of its indices is that of 0..n-1.
    """
    draws = {(row.test_fingerprint, row.n, row.indices_sha256): row for row in rows}
    return {
        fingerprint: np.array(row.per_class_total)
        for (fingerprint, n, sha256), row in draws.items()
        if sha256 == indices_sha256(np.arange(n))
    }


def places(row: Row, pool: Int[np.ndarray, " classes"] | None) -> Int[np.ndarray, " images"] | None:
    """Return where each image of the row's draw stands in the pool sorted by class, in the order of `correctness`.

    A row does not keep its indices. Within the classes a draw follows from the class sizes of the pool, its own counts,
    its rule and its seed, so it is drawn again. pool: from `pool_counts`. None if the pool is unknown or a list names
    the images.
    """
    if pool is None or row.shift_rule is None:
        return None
    labels = np.repeat(np.arange(len(pool)), pool)
    return np.sort(draw(labels, np.array(row.per_class_total), row.shift_rule, row.draw_seed))
