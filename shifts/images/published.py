"""What published data hold: figures and the word "published" stand only beside data that hold the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from shifts.images.drawn import Drawn
from shifts.images.imageset import ImageSet
from shifts.labels.profiles import class_rank, train_counts


@dataclass(frozen=True)
class Content:
    """Classes and images of a published dataset. The test pool has equally many images of each class.

    `balanced`: so has the training pool. `fingerprints`: of the train and the test pool in the Hub's form, by which
    the dataset is known under any name.
    """

    classes: int
    train: int
    test: int
    balanced: bool = True
    fingerprints: tuple[str, str] | None = None

    def fits(self, train: ImageSet, test: ImageSet, drawn: Drawn | None = None) -> bool:
        """Return whether two pools have these counts, or an exported training set those drawn from them."""
        tested = test.class_counts()
        if len(tested) != self.classes or (tested * self.classes != self.test).any():
            return False
        if drawn is None:
            return self._fits_pool(train.class_counts())
        return self._fits_drawn(drawn, train.class_names)

    def _fits_pool(self, counts: Int[np.ndarray, " classes"]) -> bool:
        return int(counts.sum()) == self.train and (not self.balanced or bool((counts == counts[0]).all()))

    def _fits_drawn(self, drawn: Drawn, class_names: Sequence[str]) -> bool:
        if not self.balanced:
            return False
        pool = np.full(self.classes, self.train // self.classes, dtype=np.int64)
        if drawn.imbalance is None:
            return drawn.profile != "natural" or list(drawn.counts) == pool.tolist()
        rank = class_rank(pool, drawn.rank_by_index)
        return list(drawn.counts) == train_counts(drawn.profile, pool, drawn.imbalance, rank, class_names).tolist()

    def is_known(self, train: ImageSet, test: ImageSet) -> bool:
        """Return whether two pools are, byte for byte, the published ones. Reads them only where counts fit."""
        if self.fingerprints is None or not self.fits(train, test):
            return False
        return (train.fingerprint, test.fingerprint) == self.fingerprints
