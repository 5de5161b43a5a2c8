"""What the commands of studies share: their models and shifts, training what is missing, storing what is computed.

A model's file grows by the shifts that are asked for; what it holds is not computed again while everything that
determines it stays the same (`study_id`).
"""

import argparse
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from filelock import FileLock

from harness.evidence.arrays import EVIDENCE_VERSION, PoolEvidence
from harness.measures.metrics import METRICS_VERSION
from harness.passes import gather as passes
from harness.passes.pools import Pools
from harness.protocol.draws import Draws
from harness.records.study_rows import StudyRow
from harness.session import subject
from harness.session.circumstances import revision
from harness.session.models import Model
from harness.session.queue import work_off
from methods.jobs.arguments import check_graphs, check_writable, chosen_device, chosen_jobs, epochs_shown, tell_data
from methods.jobs.forecast import weights_to_come
from methods.training import checkpoint
from shifts.common.errors import WorkFailed
from shifts.labels.distance import total_variation
from shifts.sets.arguments import requested_shifts


class Study(ABC):
    """Everything that one command line asks for. Building it reads data and raises BadInput; nothing is written."""

    row: ClassVar[type[StudyRow]]

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.results: Path = options.results
        self.shifts, self.notes = requested_shifts(options)
        self.device = chosen_device(options.device)
        check_graphs(options, self.device)
        self.pools = Pools(self.device)
        self.models = [self._stranger()] if options.evidence else list(self._ours())
        for model in self.models:
            self.check(model)
        about = self.models[0].subject  # all models of one command share pool and training set
        self.draws = [Draws(about.dataset, about.train_counts, shift, redraws=0) for shift in self.shifts]
        self.asked = {
            model.subject.stem: {self.study_id(model, draws): draws for draws in self.draws} for model in self.models
        }

    @abstractmethod
    def check(self, model: Model) -> None:
        """Raise BadInput where a model is none that this study is about."""

    @abstractmethod
    def settings(self, model: Model) -> dict[str, Any]:
        """What determines the figures besides evidence and shift; part of `study_id`."""

    @abstractmethod
    def compute(self, model: Model, pool: PoolEvidence, draws: Sequence[Draws]) -> Iterator[list[dict[str, Any]]]:
        """The study's own fields of the rows of each of `draws`, in order. Raises WorkFailed."""

    def study_id(self, model: Model, draws: Draws) -> str:
        """SHA-256 of everything that determines the figures of a model on a shift."""
        settings = self.settings(model) | {"study": self.row.folder, "study_version": self.row.version}
        return model.subject.row_id(settings, str(draws.shift), draws.indices_sha256)

    def path(self, model: Model) -> Path:
        """The model's file."""
        return self.row.files().path(self.results, model.subject.stem)

    def missing(self, model: Model) -> list[str]:
        """Study ids that are asked for and not stored for the checkpoint that there is (any, where there is none)."""
        sha256 = model.subject.fields.get("checkpoint_sha256")
        if model.job is not None and (described := checkpoint.describe(model.job.path(self.results))) is not None:
            sha256 = described["sha256"]
        rows = self.row.files().read(self.path(model))
        stored = {row.study_id for row in rows if sha256 in (None, row.checkpoint_sha256)}
        return [study_id for study_id in self.asked[model.subject.stem] if study_id not in stored]

    def forecast(self) -> str:
        """The plan as text: what is stored, what would be computed, what would be trained for it."""
        lines = [f"note: {note}" for note in self.notes]
        for model in self.models:
            asked, missing = len(self.shifts), len(self.missing(model))
            text = f"{model.subject.stem}: {asked - missing} of {asked} shifts done"
            words = weights_to_come(model.job, self.results)[0] if model.job is not None and missing else ""
            lines.append(f"{text}; {words}" if words else text)
        return "\n".join([*lines, f"shifts: {', '.join(map(str, self.shifts))}"])

    def work(self) -> None:
        """Do what is missing; a model that another process works on is left for last, failures are collected.

        Raises WorkFailed, naming every model that failed and saying where finished files are.
        """
        check_writable(self.results)
        tell_data(model.job for model in self.models if model.job is not None)
        failures = work_off(self.models, self._finish)
        if failures:
            raise WorkFailed(f"{failures} (finished files are kept under {self.results / self.row.folder})")

    def rows(self) -> list[StudyRow]:
        """The stored rows of what was asked for, models and shifts in the order of the command line."""
        found = []
        for model in self.models:
            by_id = defaultdict(list)
            for row in self.row.files().read(self.path(model)):
                by_id[row.study_id].append(row)
            found += [row for study_id in self.asked[model.subject.stem] for row in by_id[study_id]]
        return found

    def said(self, text: str) -> str:
        """A table with the notes before it and where everything was written after it."""
        written = f"stored: {self.results / self.row.folder}, one Parquet file for each checkpoint"
        return "\n".join([*(f"note: {note}" for note in self.notes), text, "", written])

    def _ours(self) -> Iterator[Model]:
        for job in chosen_jobs(self.options):
            yield Model(subject.of_job(job, self.options.views), job=job)

    def _stranger(self) -> Model:
        about, pool = subject.stranger(self.options.evidence)
        return Model(about, pool=pool)

    def _finish(self, model: Model, wait: bool) -> None:
        """Train, gather evidence and compute what is missing. Raises Timeout if another process does and not `wait`."""
        if not self.missing(model):
            return
        path, patience = self.path(model), -1 if wait else 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / f".{path.stem}.lock").acquire(timeout=patience):
            if not self.missing(model):
                return
            pool, sha256 = self._evidence(model, patience)
            asked = self.asked[model.subject.stem]
            before = self.row.files().read(path)
            kept = [row for row in before if row.checkpoint_sha256 == sha256 and self._current(row)]
            done = {row.study_id for row in kept}
            todo = {study_id: draws for study_id, draws in asked.items() if study_id not in done}
            computed = self.compute(model, pool, list(todo.values()))
            made = [
                self.row(**(self._known(model, pool, sha256, study_id, draws) | own))
                for (study_id, draws), of_shift in zip(todo.items(), computed, strict=True)
                for own in of_shift
            ]
            self.row.files().store(path, [*kept, *made])

    def _current(self, row: StudyRow) -> bool:
        """Whether this program, with its versions of study, evidence and metrics, would compute the row."""
        found = row.study_version, row.evidence_version, row.metrics_version
        return found == (self.row.version, EVIDENCE_VERSION, METRICS_VERSION)

    def _evidence(self, model: Model, patience: float) -> tuple[PoolEvidence, str]:
        """A model's evidence and the hash of its checkpoint, made where missing. Raises Timeout and WorkFailed."""
        if model.job is None:
            assert model.pool is not None
            return model.pool, model.subject.fields["checkpoint_sha256"]
        with model.job.lock(self.results).acquire(timeout=patience):
            with epochs_shown(f"  {model.title}") as progress:
                sha256 = model.job.make(self.results, self.device, progress)["sha256"]
            return passes.gather(model.job, sha256, self.results, self.pools, self.options.views), sha256

    def _known(self, model: Model, pool: PoolEvidence, sha256: str, study_id: str, draws: Draws) -> dict[str, Any]:
        """The fields that every study's rows have."""
        draw = draws.published[0]
        names = set(StudyRow.__dataclass_fields__)
        totals = np.bincount(pool.labels[draw.indices], minlength=len(pool.train_counts))
        return {name: value for name, value in model.subject.fields.items() if name in names} | {
            "schema_version": self.row.schema,
            "study_id": study_id,
            "study_version": self.row.version,
            "checkpoint_sha256": sha256,
            "evidence_version": EVIDENCE_VERSION,
            "metrics_version": METRICS_VERSION,
            **draws.fields,
            "n": len(draw.indices),
            "indices_sha256": draws.indices_sha256,
            "tv_train_test": total_variation(pool.train_counts, totals),
            "revision": revision(),
        }
