"""One run of the main command: its subjects and rows, what is missing of them, doing it, and reporting it."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from tqdm import tqdm

from harness import adapters
from harness.adapters.mean import Mean
from harness.board import build as leaderboard
from harness.board import table
from harness.evidence import arrays
from harness.evidence.arrays import PoolEvidence
from harness.passes import gather as passes
from harness.passes.pools import Pools
from harness.protocol.draws import Draws
from harness.protocol.measure import AnyAdapter, declared, measure
from harness.records import rows
from harness.session import subject
from harness.session.circumstances import revision, versions
from harness.session.models import Work
from harness.session.queue import work_off
from harness.session.subject import Subject
from harness.session.tasks import Task, tasks_of
from methods.jobs.arguments import check_graphs, check_writable, chosen_device, chosen_jobs, epochs_shown, tell_data
from methods.jobs.forecast import training_left, weights_to_come
from methods.jobs.job import TrainingJob, device_name
from methods.jobs.together import arguments_of, module_words, train_together
from methods.training import checkpoint
from shifts.common.errors import BadInput, WorkFailed
from shifts.images.entries import ENTRIES
from shifts.labels.profiles import held_out
from shifts.sets.arguments import requested_shifts


class Session:
    """Everything one command line asks for. Building it reads data and raises BadInput; nothing is written.

    jobs: what is to be trained (by default what the options say).
    """

    def __init__(self, options: argparse.Namespace, jobs: Sequence[TrainingJob] | None = None) -> None:
        self.options = options
        self.jobs = jobs
        self.results: Path = options.results
        leaderboard.check_schema(self.results / "leaderboard.json")
        self.adapters = [adapters.get(name) for name in dict.fromkeys(options.adapters or adapters.ADAPTERS)]
        self.shifts, self.notes = requested_shifts(options)
        self.device = chosen_device(options.device)
        check_graphs(options, self.device)
        self.draws: list[Draws] | None = None
        self.pools = Pools(self.device)
        self.failed: dict[str, str] = {}  # what `--together` could not train, and why
        self.works = list(self._stranger() if options.evidence else self._jobs())

    def _jobs(self) -> Iterator[Work]:
        for job in chosen_jobs(self.options) if self.jobs is None else self.jobs:
            yield self._work(subject.of_job(job, self.options.views, self.options.evidence_precision), job=job)

    def _stranger(self) -> Iterator[Work]:
        about, pool = subject.stranger(self.options.evidence)
        yield self._work(about, pool=pool)

    def _work(self, about: Subject, job: TrainingJob | None = None, pool: PoolEvidence | None = None) -> Work:
        if self.draws is None:  # all subjects of a session share pool and training set
            redraws = self.options.redraws
            self.draws = [Draws(about.dataset, about.train_counts, shift, redraws) for shift in self.shifts]
        tasks, notes = tasks_of(about, self.draws, self.adapters, self.results)
        # By default every adapter that applies is run; only one that was asked for by name deserves a note.
        if self.options.adapters:
            self.notes += [note for note in notes if note not in self.notes]
        return Work(about, tasks, job, pool)

    def forecast(self) -> str:
        """The plan as text: what would be trained and measured, what is done, estimated cost."""
        lines, total = [*(f"note: {note}" for note in self.notes)], 0.0
        for work in self.works:
            missing = work.missing(self.results)
            text = f"{work.subject.stem}: {len(work.tasks) - len(missing)} of {len(work.tasks)} rows done"
            if work.job is not None and missing:
                words, cost = weights_to_come(work.job, self.results)
                total += cost
                text += f"; {words}" if words else ""
            lines.append(text)
        lines.append(
            f"shifts: {', '.join(map(str, self.shifts))}\nadapters: {', '.join(a.name for a in self.adapters)}\n"
            f"{training_left(total)}"
        )
        return "\n".join(lines)

    def commands(self) -> str:
        """One training command a line for every checkpoint that is missing, for any scheduler."""
        return "\n".join(
            shlex.join(["python", *module_words("methods.train"), *arguments_of(self.options, work.job)])
            for work in self.works
            if work.job is not None and checkpoint.describe(work.job.path(self.results)) is None
        )

    def work(self) -> None:
        """Do what is missing. A subject that another process works on is left for last; failures are collected.

        Raises WorkFailed, saying where finished rows are: at the end, naming every subject that failed, or at once
        where the operating system refuses (a full disk).
        """
        check_writable(self.results)
        tell_data(work.job for work in self.works if work.job is not None)
        kept = f" (finished rows are kept under {rows.folder(self.results)})"
        try:
            if self.options.together > 1:
                jobs = [work.job for work in self.works if work.job is not None and work.missing(self.results)]
                self.failed = train_together(self.options, jobs, self.options.together)
            failures = work_off(self.works, self._finish)
            leaderboard.write(self.results)
        except OSError as error:
            raise WorkFailed(f"{error}{kept}") from error
        if failures:
            raise WorkFailed(failures + kept)

    def _finish(self, work: Work, wait: bool) -> None:
        """Do what a subject misses: train, gather evidence, measure. Raises Timeout if another process is at it.

        With `wait` that is waited for.
        """
        if not work.missing(self.results):
            return
        if work.job is None:
            assert work.pool is not None
            self._measure(work, work.pool, {})
            return
        if work.job.stem in self.failed:
            raise WorkFailed(self.failed[work.job.stem])
        lock = work.job.lock(self.results)
        with lock.acquire(timeout=-1 if wait else 0):
            if not work.missing(self.results):
                return
            with epochs_shown(f"  {work.job.method_name} s{work.job.seed}") as progress:
                described = work.job.make(self.results, self.device, progress)
            pool = self._gather(work.job, described["sha256"])
            known = {key: described[key] for key in ("parameters", "macs", "train_seconds")}
            known |= {
                "checkpoint_sha256": described["sha256"],
                "evidence_seconds": float(pool.metadata["seconds"]),
            }
            self._measure(work, pool, known)

    def _gather(self, job: TrainingJob, sha256: str) -> Any:
        """The evidence of a checkpoint, as `_measure` takes it."""
        asked = self.options.views, self.options.evidence_precision
        return passes.gather(job, sha256, self.results, self.pools, *asked)

    def _measure(self, work: Work, pool: Any, known: dict[str, Any]) -> None:
        """Compute and store the missing rows of a subject."""
        missing = work.missing(self.results)
        with tqdm(total=len(missing), desc=f"rows {work.title}", unit="row", delay=2, leave=False, disable=None) as bar:
            for draws, group in groupby(missing, key=lambda task: task.draws):
                tasks = list(group)
                measured = measure(pool, [task.adapter for task in tasks], draws.all)
                for task, fields in zip(tasks, measured, strict=True):
                    rows.store(task.path, self._row(work.subject, task, pool, known | fields))
                    bar.update()

    def _row(self, about: Subject, task: Task, pool: PoolEvidence, fields: dict[str, Any]) -> rows.Row:
        """A row from what is known of the subject, what the adapter declares and what was measured."""
        said = declared(task.adapter, pool.evidence, pool.expert_priors)
        own = {"schema_version": rows.ROW_SCHEMA, "task": "single_label", "evidence_version": arrays.EVIDENCE_VERSION}
        return rows.Row(**(about.fields | said | own | self._circumstances(about, task, said["adapter"]) | fields))

    def _circumstances(self, about: Subject, task: Task, adapter: str) -> dict[str, Any]:
        """Row fields of the shift, of where and with what this run is made, and the published figure beside it."""
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

    def report(self) -> str:
        """The table of this command's rows, and where everything was written."""
        wanted = {task.row_id for work in self.works for task in work.tasks}
        board = leaderboard.read(self.results)
        entries = [entry for entry in board["entries"] if wanted & set(entry["row_ids"])]
        lines = [f"note: {note}" for note in self.notes]
        lines += [table.render(entries, [str(shift) for shift in self.shifts], _terminal_width(), self.options.top)]
        lines += ["", f"leaderboard: {self.results / 'leaderboard.json'}    rows: {rows.folder(self.results)}"]
        return "\n".join(lines)


def check_names(options: argparse.Namespace) -> None:
    """Raise BadInput for what is wrong whatever the data hold, before any of them is read."""
    leaderboard.check_schema(options.results / "leaderboard.json")
    chosen = [adapters.get(name) for name in options.adapters or []]
    if options.dataset in [entry.name for entry in ENTRIES if entry.task == "multi_label"]:
        check_label_adapters(options.dataset, chosen)
    shifts, _ = requested_shifts(options)
    for path in (shift.path for shift in shifts if shift.path is not None):
        try:
            Path(path).open("rb").close()
        except OSError as error:
            raise BadInput(f"the file of a shift cannot be read: {path}: {error.strerror}") from error
    held_out(options.profile)
    check_graphs(options, chosen_device(options.device))


def check_label_adapters(dataset: str, chosen: Iterable[AnyAdapter]) -> None:
    """Raise BadInput for an adapter that needs a softmax over classes, of which an image with a label set has none."""
    for adapter in chosen:
        if not isinstance(adapter, Mean):
            raise BadInput(
                f"adapter {adapter.name} does not apply to {dataset}, whose images have label sets; "
                f"allowed: {Mean.name}"
            )


def _terminal_width() -> int | None:
    """Columns of the terminal that stdout is, or None where it is something else."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
