"""What rows say of the same images: correctness image by image, classes, places in the pool, McNemar's test."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int

from harness.measures.metrics import unpack_bits
from harness.records.rows import Row
from shifts.labels.draw import draw, indices_sha256


def correctness(row: Row) -> Bool[np.ndarray, " images"]:
    """Whether each image of the row's draw is classified correctly; by class, then by place in the dataset.

    Raises ValueError for bits of another length.
    """
    return unpack_bits(row.correct_bits, row.n)


def image_classes(row: Row) -> Int[np.ndarray, " images"]:
    """The class of each image of the row's draw, in the order of `correctness`."""
    return np.repeat(np.arange(len(row.per_class_total)), row.per_class_total)


def pool_counts(found: Iterable[Row]) -> dict[str, Int[np.ndarray, " classes"]]:
    """Images of each class in the whole test pool, for each `test_fingerprint` of which a row tells.

    A row tells if its draw is the whole pool: then the hash of its indices is that of 0..n-1.
    """
    draws = {(row.test_fingerprint, row.n, row.indices_sha256): row for row in found}
    return {
        fingerprint: np.array(row.per_class_total)
        for (fingerprint, n, sha256), row in draws.items()
        if sha256 == indices_sha256(np.arange(n))
    }


def places(row: Row, pool: Int[np.ndarray, " classes"] | None) -> Int[np.ndarray, " images"] | None:
    """Where each image of the row's draw stands in the pool sorted by class; in the order of `correctness`.

    A row does not keep its indices. But within the classes a draw follows from the pool's class sizes, its own counts,
    its rule and its seed alone, so it is drawn again. pool: `pool_counts`. None where the pool is unknown or the images
    come from a list.
    """
    if pool is None or row.shift_rule is None:
        return None
    labels = np.repeat(np.arange(len(pool)), pool)
    return np.sort(draw(labels, np.array(row.per_class_total), row.shift_rule, row.draw_seed))
