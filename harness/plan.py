"""The plan of a run: which rows are asked for, where each is stored, which of them are missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from harness import rows
from harness.protocol import AnyAdapter, Draw, settings_of
from harness.subject import Subject
from shifts.catalog import Dataset
from shifts.draw import indices_sha256
from shifts.sets import resolve
from shifts.shift import Shift


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


@dataclass(frozen=True)
class Task:
    """One row to be: an adapter on a shift."""

    adapter: AnyAdapter
    draws: Draws
    row_id: str
    path: Path

    def complete(self, checkpoint_sha256: str | None) -> bool:
        """Whether the row is stored, of this checkpoint, with as many redraws as asked for."""
        return rows.complete(self.path, checkpoint_sha256, len(self.draws.seeds))


def tasks_of(
    subject: Subject, draws: Sequence[Draws], adapters: Sequence[AnyAdapter], results: Path
) -> tuple[list[Task], list[str]]:
    """The rows that a subject can have, and one note for each adapter that does not apply to it.

    Raises BadInput where the pool cannot give a shift.
    """
    usable, notes = [], []
    for adapter in adapters:
        reason = adapter.missing(subject.blank)
        if reason is None:
            usable.append((adapter, settings_of(adapter, subject.blank)))
        else:
            notes.append(f"{adapter.name} does not apply to {subject.fields['method']}: {reason}")
    tasks = []
    for drawn in draws:
        shift = str(drawn.shift)
        for adapter, settings in usable:
            row_id = subject.row_id(settings, shift, drawn.indices_sha256, source="source" in adapter.reads)
            path = rows.path(results, subject.stem, settings["adapter"], shift, row_id)
            tasks.append(Task(adapter, drawn, row_id, path))
    return tasks, notes
