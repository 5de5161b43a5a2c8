"""The plan of a run: which rows are asked for, where each is stored, which of them are missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import rows
from harness.protocol import AnyAdapter, Draw, settings_of
from harness.subject import Subject
from shifts.draw import indices_sha256
from shifts.sets import resolve
from shifts.shift import Shift


@dataclass(frozen=True)
class Task:
    """One row to be: an adapter on a shift."""

    adapter: AnyAdapter
    shift: Shift
    origin: str
    draws: tuple[Draw, ...]
    row_id: str
    path: Path

    def complete(self, checkpoint_sha256: str | None) -> bool:
        """Whether the row is stored, of this checkpoint, with as many redraws as asked for."""
        return rows.complete(self.path, checkpoint_sha256, len(self.draws) - 1)


def tasks_of(
    subject: Subject,
    shifts: Iterable[Shift],
    adapters: Sequence[AnyAdapter],
    redraws: int,
    results: Path,
) -> tuple[list[Task], list[str]]:
    """The rows that a subject can have, and one note for each adapter that does not apply to it.

    Redraws use draw seeds 1..`redraws`; a shift whose draw is the whole pool, or fixed by a list or by the rule
    `first-n`, has none. Raises BadInput where the pool cannot give a shift.
    """
    notes = [
        f"{adapter.name} does not apply to {subject.fields['method']}: {reason}"
        for adapter in adapters
        if (reason := adapter.missing(subject.blank)) is not None
    ]
    usable = [adapter for adapter in adapters if adapter.missing(subject.blank) is None]
    tasks = []
    for shift in shifts:
        draws, origin = drawn(subject, shift, redraws)
        sha256 = indices_sha256(draws[0].indices)
        for adapter in usable:
            settings = settings_of(adapter, subject.blank)
            row_id = subject.row_id(settings, str(shift), sha256)
            path = rows.path(results, subject.stem, settings["adapter"], str(shift), row_id)
            tasks.append(Task(adapter, shift, origin, draws, row_id, path))
    return tasks, notes


def drawn(subject: Subject, shift: Shift, redraws: int) -> tuple[tuple[Draw, ...], str]:
    """The published draw and the redraws of a shift, and whether the first is the published set or generated."""
    first, origin = resolve(subject.dataset, shift, subject.train_counts)
    fixed = shift.kind == "list" or shift.rule == "first-n" or len(first) == len(subject.dataset.test)
    seeds = range(0 if fixed else redraws)
    again = [Draw(seed + 1, resolve(subject.dataset, shift, subject.train_counts, seed + 1)[0]) for seed in seeds]
    return (Draw(0, first), *again), origin
