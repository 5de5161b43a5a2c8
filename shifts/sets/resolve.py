"""From a shift to indices into the test pool."""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int

from shifts.common.errors import BadInput
from shifts.images.catalog import Dataset
from shifts.images.listfiles import list_indices
from shifts.labels.draw import draw
from shifts.labels.profiles import class_rank
from shifts.labels.selection import select, wanted_marginals
from shifts.labels.shift import MAX_SEED, Shift, class_counts, published_shifts


def resolve(
    dataset: Dataset, shift: Shift, train_counts: Int[np.ndarray, " classes"], seed: int = 0
) -> tuple[Int[np.ndarray, " drawn"], Literal["published", "generated"]]:
    """Return a shift's indices into the dataset's test pool (int64), and whether they are the published set.

    `train_counts` give the class order of sets that are not ranked by class index; `seed` is the draw's (0 = the
    fixed published draw, others are redraws). `published`: a list file, or one of the eleven sets on the pool that
    they were published on. Of a multi-label pool they are selected by label marginals (`shifts.labels.selection`).
    Raises BadInput where the pool cannot give the shift.
    """
    if not 0 <= seed <= MAX_SEED:
        raise BadInput(f"the draw seed is {seed}; it must lie in 0..{MAX_SEED}")
    pool = dataset.test
    if shift.kind == "list" and dataset.task == "single_label":
        origin: Literal["published", "generated"] = "published" if dataset.published else "generated"
        return list_indices(Path(str(shift.path)), pool), origin
    rank = class_rank(train_counts, dataset.rank_by_index)
    if dataset.task == "multi_label":
        if shift.rule == "first-n":
            raise BadInput(f"shift {shift}: label sets are selected by their marginals; -first_n does not apply")
        if shift.kind == "natural":
            return np.arange(len(pool)), "published" if dataset.entry.label_counts is not None else "generated"
        return select(pool.labels, wanted_marginals(shift, rank), seed), "generated"
    counts = class_counts(shift, pool.class_counts(), rank, dataset.class_names)
    indices = draw(pool.labels, counts, str(shift.rule), seed)
    return indices, "published" if _is_published(dataset, shift, len(indices), seed) else "generated"


def _is_published(dataset: Dataset, shift: Shift, n: int, seed: int) -> bool:
    """Return whether a draw is a published test set: on published content, of a published kind."""
    entry = dataset.entry
    if not dataset.published:
        return False
    if shift.kind in ("uniform", "natural") and n == len(dataset.test):
        return entry.eleven or entry.lists is not None
    return entry.eleven and shift.ratio is not None and shift in published_shifts() and seed == 0
