"""The plan of a run: which rows are asked for, where each is stored, which of them are missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.protocol.draws import Draws
from harness.protocol.measure import AnyAdapter, settings_of
from harness.records import rows
from harness.session.subject import Subject


@dataclass(frozen=True)
class Task:
    """One row to be: an adapter on a shift."""

    adapter: AnyAdapter
    draws: Draws
    row_id: str
    path: Path

    def complete(self, checkpoint_sha256: str | None) -> bool:
        """Return whether the row is stored, of this checkpoint, with as many redraws as asked for."""
        return rows.complete(self.path, checkpoint_sha256, len(self.draws.seeds))


def tasks_of(
    subject: Subject, draws: Sequence[Draws], adapters: Sequence[AnyAdapter], results: Path
) -> tuple[list[Task], list[str]]:
    """Return the rows that a subject can have, and one note for each adapter that does not apply to it.

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
