"""Stored rows as contests: entrants with the same data and recipe on the same drawn sets of one pool of images."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool

from harness.board.build import SETTING, current
from harness.choice.bootstrap import DrawnSet
from harness.choice.pairs import correctness, image_classes, places, pool_counts
from harness.evidence.access import Access
from harness.records.fields import DATA
from harness.records.rows import Row
from harness.show.shifts import read
from shifts.labels.shift import published_shifts

PUBLISHED = tuple(str(shift) for shift in published_shifts())


NEVER_MIXED = ("task", *DATA, "recipe", "selection", "evidence_precision")
"""Row fields that entrants of one contest share: task and data, recipe, how checkpoints were chosen, precision."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """One method with one adapter and all options: its rows by shift, one for each train seed."""

    rows: dict[str, list[Row]]

    @property
    def first(self) -> Row:
        return next(iter(self.rows.values()))[0]

    @cached_property
    def setting(self) -> tuple[Any, ...]:
        """What makes it the same contender on other shifts."""
        return tuple(getattr(self.first, name) for name in SETTING)

    @property
    def access(self) -> Access:
        """What it knew."""
        return Access.of(vars(self.first))

    def seeds(self, shift: str) -> tuple[int | None, ...]:
        """Return the train seeds on a shift, ascending; (None,) for somebody else's model."""
        return tuple(row.train_seed for row in self.rows[shift])

    def complete(self, shifts: Sequence[str]) -> bool:
        """Return whether it has all these shifts, with the same train seeds."""
        return all(shift in self.rows for shift in shifts) and len({self.seeds(shift) for shift in shifts}) == 1

    def networks(self, shift: str) -> tuple[str, ...]:
        """Return the hashes of the trained networks behind the rows of a shift, by train seed."""
        return tuple(row.checkpoint_sha256 for row in self.rows[shift])

    @cached_property
    def correct(self) -> dict[str, Bool[np.ndarray, "seeds images"]]:
        """For each shift, whether each image is classified correctly, by train seed."""
        return {shift: np.stack([correctness(row) for row in rows]) for shift, rows in self.rows.items()}


@dataclass(frozen=True, eq=False)
class Contest:
    """Entrants that have all of `shifts`, and for each access how many others lack some."""

    shifts: tuple[str, ...]
    draws: tuple[DrawnSet, ...]
    entrants: tuple[Entrant, ...]
    incomplete: Counter[Access]

    @property
    def data(self) -> tuple[Any, ...]:
        """What contests over other shifts share with it: data, training set, recipe."""
        return tuple(getattr(self.entrants[0].first, name) for name in NEVER_MIXED)


def contests(stored: Sequence[Row], over: Sequence[str] | None = None) -> list[Contest]:
    """Group rows into contests by data and recipe, over the published shifts and over the order-free ones.

    over: the only shifts to look at, all together. The order of the rows does not matter. Of the order-free shifts
    those count that most entrants have. Raises ValueError for a row whose correctness bits do not fit its draw.
    """
    pools = pool_counts(stored)
    draws: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    groups = []
    for group in current(row for row in stored if row.task == "single_label"):
        row = group[0]
        listed = row.shift in PUBLISHED or read(row.shift).traits.order_free if over is None else row.shift in over
        if listed:
            apart = over is None and row.shift not in PUBLISHED
            family = json.dumps([*(getattr(row, name) for name in NEVER_MIXED), apart])
            draws[family, row.shift][row.indices_sha256] += 1
            groups.append((family, group))
    families: dict[str, dict[str, dict[str, list[Row]]]] = defaultdict(lambda: defaultdict(dict))
    for family, group in groups:
        row = group[0]
        # One draw a shift, the one that most entrants have: others are not of the same images.
        if row.indices_sha256 == max(draws[family, row.shift].items(), key=lambda item: (item[1], item[0]))[0]:
            setting = json.dumps([getattr(row, name) for name in SETTING])
            families[family][setting][row.shift] = sorted(group, key=lambda one: one.train_seed or 0)
    found = []
    for key, settings in sorted(families.items()):
        entrants = [Entrant(by_shift) for _, by_shift in sorted(settings.items())]
        shifts = _commonest(entrants) if json.loads(key)[-1] else PUBLISHED if over is None else tuple(over)
        complete = tuple(entrant for entrant in entrants if entrant.complete(shifts))
        if complete:
            rows = [complete[0].rows[shift][0] for shift in shifts]
            sets = tuple(DrawnSet(image_classes(row), places(row, pools.get(row.test_fingerprint))) for row in rows)
            incomplete = Counter(entrant.access for entrant in entrants if not entrant.complete(shifts))
            found.append(Contest(shifts, sets, complete, incomplete))
    return found


def _commonest(entrants: Sequence[Entrant]) -> tuple[str, ...]:
    """Return the set of shifts that most entrants have; of several such sets the largest."""
    sets = Counter(tuple(sorted(entrant.rows)) for entrant in entrants)
    return max(sets, key=lambda shifts: (sets[shifts], len(shifts), shifts))
