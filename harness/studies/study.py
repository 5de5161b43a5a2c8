"""What the commands of studies share: their models and shifts, training what is missing, storing what is computed.

A model's file grows by the shifts that are asked for; what it holds is not computed again while everything that
determines it stays the same (`study_id`).
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.evidence.arrays import EVIDENCE_VERSION, PoolEvidence
from harness.measures.metrics import METRICS_VERSION
from harness.protocol.draws import Draws
from harness.records.study_rows import StudyRow
from harness.session.circumstances import revision
from harness.session.models import Model
from harness.session.request import Request
from harness.session.session import EvidenceSession
from methods.jobs.job import TrainingJob
from shifts.labels.distance import total_variation


class Study(EvidenceSession):
    """A session whose rows are of a study: one file a model, which grows by the shifts that are asked for."""

    asks = "shifts"
    keeps = "files"
    row: ClassVar[type[StudyRow]]

    def __init__(self, request: Request[Any], jobs: Sequence[TrainingJob]) -> None:
        super().__init__(request, jobs)
        for model in self.models:
            self.check(model)
        drawn = self.draws(redraws=0)
        self.by_id = {
            model.subject.stem: {self.study_id(model, draws): draws for draws in drawn} for model in self.models
        }

    @abstractmethod
    def check(self, model: Model) -> None:
        """Raise BadInput where a model is none that this study is about."""

    @abstractmethod
    def settings(self, model: Model) -> dict[str, Any]:
        """Return what determines the figures besides evidence and shift; part of `study_id`."""

    @abstractmethod
    def measure(self, model: Model, pool: PoolEvidence, draws: Sequence[Draws]) -> Iterator[list[dict[str, Any]]]:
        """Return the study's own fields of the rows of each of `draws`, in order. Raises WorkFailed."""

    def study_id(self, model: Model, draws: Draws) -> str:
        """Return the SHA-256 of everything that determines the figures of a model on a shift."""
        settings = self.settings(model) | {"study": self.row.folder, "study_version": self.row.version}
        return model.subject.row_id(settings, str(draws.shift), draws.indices_sha256)

    @property
    def folder(self) -> Path:
        """Where the files of this study are kept."""
        return self.results / self.row.folder

    def path(self, model: Model) -> Path:
        """Return the model's file."""
        return self.row.files().path(self.results, model.subject.stem)

    def asked(self, model: Model) -> list[str]:
        """Return the study ids that are asked for."""
        return list(self.by_id[model.subject.stem])

    def missing(self, model: Model) -> list[str]:
        """Return the study ids that are not stored for the checkpoint that there is."""
        sha256 = model.checkpoint_sha256(self.results)
        rows = self.row.files().read(self.path(model))
        stored = {row.study_id for row in rows if sha256 in (None, row.checkpoint_sha256)}
        return [study_id for study_id in self.asked(model) if study_id not in stored]

    def ends(self, operations: float) -> list[str]:
        """Return the shifts."""
        return [f"shifts: {', '.join(map(str, self.shifts))}"]

    def rows(self) -> list[StudyRow]:
        """Return the stored rows of what was asked for, models and shifts in the order of the command line."""
        found = []
        for model in self.models:
            by_id = defaultdict(list)
            for row in self.row.files().read(self.path(model)):
                by_id[row.study_id].append(row)
            found += [row for study_id in self.asked(model) for row in by_id[study_id]]
        return found

    def said(self, text: str) -> str:
        """Return a table with the notes before it and, after it, where everything was written."""
        written = f"stored: {self.folder}, one Parquet file for each checkpoint"
        return "\n".join([*(f"note: {note}" for note in self.notes), text, "", written])

    def compute(self, model: Model, patience: float) -> None:
        """Measure the missing shifts of a model and store them beside those that its file holds."""
        pool, known = self.evidence(model, patience)
        sha256, path = str((model.subject.fields | known)["checkpoint_sha256"]), self.path(model)
        before = self.row.files().read(path)
        kept = [row for row in before if row.checkpoint_sha256 == sha256 and self._current(row)]
        done = {row.study_id for row in kept}
        todo = {study_id: draws for study_id, draws in self.by_id[model.subject.stem].items() if study_id not in done}
        measured = self.measure(model, pool, list(todo.values()))
        made = [
            self.row(**(self._known(model, pool, sha256, study_id, draws) | own))
            for (study_id, draws), of_shift in zip(todo.items(), measured, strict=True)
            for own in of_shift
        ]
        self.row.files().store(path, [*kept, *made])

    def _current(self, row: StudyRow) -> bool:
        """Return whether this program, with its versions of study, evidence and metrics, would compute the row."""
        found = row.study_version, row.evidence_version, row.metrics_version
        return found == (self.row.version, EVIDENCE_VERSION, METRICS_VERSION)

    def _known(self, model: Model, pool: PoolEvidence, sha256: str, study_id: str, draws: Draws) -> dict[str, Any]:
        """Return the fields that every study's rows have."""
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
