"""A run of the main command: rows of adapters on shifts, their leaderboard, and the table of what was asked for."""

import shlex
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from tqdm import tqdm

from harness import adapters
from harness.board import build as leaderboard
from harness.board import table
from harness.board.schema import Board
from harness.choice import of_run
from harness.evidence import arrays
from harness.passes import gather as passes
from harness.protocol.measure import AnyAdapter, declared, measure
from harness.records import rows
from harness.session.circumstances import revision, versions
from harness.session.models import Model
from harness.session.request import Request
from harness.session.session import EvidenceSession
from harness.session.subject import Subject
from harness.session.tasks import Task, tasks_of
from methods.jobs.forecast import training_left
from methods.jobs.job import TrainingJob, device_name
from methods.jobs.request import module_words
from methods.training import checkpoint


class RowSession(EvidenceSession):
    """Every adapter on every shift for every model: a row each."""

    asks = "rows"
    keeps = "rows"

    def __init__(
        self, request: Request[Any], jobs: Sequence[TrainingJob], named: Sequence[str] = (), redraws: int = 0
    ) -> None:
        """Plan rows; `named` are the adapters that are asked for by name."""
        super().__init__(request, jobs)
        self.adapters = self.chosen_adapters(named)
        drawn = self.draws(redraws)
        self.tasks: dict[str, Sequence[Task]] = {}
        for model in self.models:
            self.tasks[model.subject.stem], notes = tasks_of(model.subject, drawn, self.adapters, self.results)
            # By default every adapter that applies is run; only one that was asked for by name deserves a note.
            if named:
                self.notes += [note for note in notes if note not in self.notes]

    def chosen_adapters(self, named: Sequence[str]) -> list[AnyAdapter]:
        """Return the adapters of these names, each once; without any, those of the default run. Raises BadInput."""
        return adapters.asked_for(named)

    @property
    def folder(self) -> Path:
        """Where rows are kept."""
        return rows.folder(self.results)

    def asked(self, model: Model) -> Sequence[Task]:
        """Return the rows that are asked of a model."""
        return self.tasks[model.subject.stem]

    def missing(self, model: Model) -> list[Task]:
        """Return the tasks without a complete row for the checkpoint that there is."""
        sha256 = model.checkpoint_sha256(self.results)
        return [task for task in self.asked(model) if not task.complete(sha256)]

    def ends(self, operations: float) -> list[str]:
        """Return shifts, adapters, and the cost of training."""
        return [
            f"shifts: {', '.join(map(str, self.shifts))}",
            f"adapters: {', '.join(adapter.name for adapter in self.adapters)}",
            training_left(operations),
        ]

    def commands(self) -> str:
        """Return one training command a line for every checkpoint that is missing, for any scheduler."""
        return "\n".join(
            shlex.join(["python", *module_words("methods.train"), *self.training.words(model.job)])
            for model in self.models
            if model.job is not None and checkpoint.describe(model.job.path(self.results)) is None
        )

    def compute(self, model: Model, patience: float) -> None:
        """Measure and store the missing rows of a model."""
        pool, known = self.evidence(model, patience)
        missing = self.missing(model)
        title = f"rows {model.title}"
        with tqdm(total=len(missing), desc=title, unit="row", delay=2, leave=False, disable=None) as bar:
            for draws, group in groupby(missing, key=lambda task: task.draws):
                tasks = list(group)
                measured = measure(pool, [task.adapter for task in tasks], draws.all)
                for task, fields in zip(tasks, measured, strict=True):
                    said = declared(task.adapter, pool.evidence, pool.expert_priors)
                    own = {
                        "schema_version": rows.ROW_SCHEMA,
                        "task": "single_label",
                        "evidence_version": arrays.EVIDENCE_VERSION,
                    }
                    about = self.circumstances(model.subject, task, said["adapter"])
                    rows.store(task.path, rows.Row(**(model.subject.fields | said | own | about | known | fields)))
                    bar.update()

    def gather(self, job: TrainingJob, sha256: str) -> Any:
        """Return the evidence of a checkpoint; without view pairs where no adapter of the run applies that reads them.

        They take six passes of seven over the pool.
        """
        (tasks,) = (tasks for stem, tasks in self.tasks.items() if stem == job.stem)
        read = {part for task in tasks for part in task.adapter.reads}
        views = self.views if read & {"views", "view_features"} else 0
        return passes.gather(job, sha256, self.results, self.pools, views, self.precision, features=self.features)

    def told(self, model: Model) -> str:
        """Return a line on the model's rows: how many, and the adapter with the best mean accuracy."""
        found: dict[str, list[float]] = defaultdict(list)
        for task in self.asked(model):
            row = rows.read(task.path)
            if row.prior_access != "oracle" and row.label_access != "test":
                found[row.adapter].append(row.top1)
        best = max(found, key=lambda name: sum(found[name]) / len(found[name]), default=None)
        if best is None:
            return super().told(model)
        mean = 100 * sum(found[best]) / len(found[best])
        return f"{super().told(model)}, best {best} {mean:.1f} %"

    def circumstances(self, about: Subject, task: Task, adapter: str) -> dict[str, Any]:
        """Return the row fields of shift, place and program, and the published figure that stands beside the row."""
        published = about.reported(adapter, str(task.draws.shift))
        return task.draws.fields | {
            "row_id": task.row_id,
            "device": device_name(self.device),
            "determinism": "bit for bit" if self.device.type == "cpu" else "as far as the CUDA libraries allow",
            "versions": dict(versions()),
            "revision": revision(),
            "reported_value": None if published is None else published.value,
            "reported_source": None if published is None else published.source,
            "reported_primary": None if published is None else published.primary,
        }

    def end(self) -> None:
        """Write the leaderboard."""
        leaderboard.write(self.results)

    def entries(self) -> list[Any]:
        """Return the leaderboard's entries of the rows that were asked for."""
        wanted = {task.row_id for tasks in self.tasks.values() for task in tasks}
        return [entry for entry in self.part(leaderboard.read(self.results)) if wanted & set(entry["row_ids"])]

    def part(self, board: Board) -> Sequence[Any]:
        """Return the entries that such rows are in."""
        return board["entries"]

    def table(self, entries: Sequence[Any], top: int, width: int | None) -> str:
        """Return entries as a table; `top` lines of each block (0: all)."""
        return table.render(entries, [str(shift) for shift in self.shifts], width, top)

    def report(self, top: int) -> str:
        """Return the table with the notes before it and where everything was written after it."""
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        written = f"leaderboard: {self.results / 'leaderboard.json'}    rows: {rows.folder(self.results)}"
        entries = self.entries()
        parts = [*(f"note: {note}" for note in self.notes), self.table(entries, top, width), ""]
        return "\n".join([*parts, *self.answer(entries), written])

    def answer(self, entries: Sequence[Any]) -> list[str]:
        """Return the answer in a few lines, over the rows of entries: other train seeds count, too."""
        found = rows.named(self.results, (row_id for entry in entries for row_id in entry["row_ids"]))
        told = of_run.lines(found, [str(shift) for shift in self.shifts])
        return [*told, ""] if told else []
