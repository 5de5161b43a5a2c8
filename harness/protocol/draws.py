"""The draws of a shift from a test pool."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int

from shifts.images.catalog import Dataset
from shifts.labels.draw import indices_sha256
from shifts.labels.shift import Shift
from shifts.sets.resolve import resolve


@dataclass(frozen=True)
class Draw:
    """Images of the test pool under one draw seed (0 is the published draw)."""

    seed: int
    indices: Int[np.ndarray, " drawn"]


@dataclass(frozen=True, eq=False)
class Draws:
    """The draws of one shift from one test pool; the redraws (draw seeds 1, 2, ...) are made when first asked for."""

    dataset: Dataset
    train_counts: Int[np.ndarray, " classes"]
    shift: Shift
    redraws: int

    @cached_property
    def published(self) -> tuple[Draw, str]:
        """The draw with seed 0, and whether it is a published set or generated. Raises BadInput as `resolve`."""
        indices, origin = resolve(self.dataset, self.shift, self.train_counts)
        return Draw(0, indices), origin

    @property
    def seeds(self) -> range:
        """Redraw seeds: none where the draw is the whole pool, or fixed by a list or by the rule `first-n`."""
        fixed = self.shift.kind == "list" or self.shift.rule == "first-n"
        whole = len(self.published[0].indices) == len(self.dataset.test)
        return range(1, 1 + (0 if fixed or whole else self.redraws))

    @cached_property
    def all(self) -> tuple[Draw, ...]:
        """The published draw, then the redraws."""
        again = (Draw(seed, resolve(self.dataset, self.shift, self.train_counts, seed)[0]) for seed in self.seeds)
        return (self.published[0], *again)

    @property
    def fields(self) -> dict[str, Any]:
        """The row fields that tell the shift."""
        shift = self.shift
        return {
            "shift": str(shift),
            "shift_kind": shift.kind,
            "shift_ratio": shift.ratio,
            "shift_alpha": shift.alpha,
            "shift_seed": shift.seed,
            "shift_rule": shift.rule,
            "shift_origin": self.published[1],
        }

    @cached_property
    def indices_sha256(self) -> str:
        """Hash of the published draw."""
        return indices_sha256(self.published[0].indices)
