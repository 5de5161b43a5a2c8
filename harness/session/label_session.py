"""A run of the main command on label sets: as any other, with its own evidence, metrics, rows and table.

Only the adapter `mean` applies: what the others do needs a softmax over classes, of which an image has one.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness import adapters
from harness.adapters.mean import Mean
from harness.board import build as leaderboard
from harness.board import label_table as table
from harness.evidence import label_files
from harness.evidence.arrays import PoolEvidence
from harness.evidence.label_files import LabelEvidence
from harness.measures.label_metrics import METRICS_VERSION, RESAMPLES, evaluate
from harness.passes import labels as evidence
from harness.protocol.draws import Draws
from harness.records import label_rows, rows
from harness.session.models import Work
from harness.session.session import Session, check_label_adapters
from harness.session.subject import Subject
from harness.session.tasks import Task
from methods.jobs.job import TrainingJob
from shifts.common.files import digest
from shifts.labels.distance import total_variation
from shifts.labels.profiles import class_rank
from shifts.labels.selection import miss


@dataclass(frozen=True)
class LabelTask(Task):
    """One multi-label row to be."""

    def complete(self, checkpoint_sha256: str | None) -> bool:
        return label_rows.complete(self.path, checkpoint_sha256)


class LabelSession(Session):
    """Everything that one command line asks for of a multi-label dataset."""

    def __init__(self, options: argparse.Namespace, jobs: Sequence[TrainingJob]) -> None:
        check_label_adapters(jobs[0].dataset.name, map(adapters.get, options.adapters or []))
        super().__init__(options, jobs)
        if not options.adapters:
            self.notes.append("label sets take the adapter mean only; views and redraws are not used")
        self.adapters = [Mean()]

    def _work(self, about: Subject, job: TrainingJob | None = None, pool: PoolEvidence | None = None) -> Work:
        if self.draws is None:
            self.draws = [Draws(about.dataset, about.train_counts, shift, 0) for shift in self.shifts]
        adapter = Mean()
        tasks: list[Task] = []
        for drawn in self.draws:
            shift = str(drawn.shift)
            row_id = digest(
                {
                    "subject": about.identity,
                    "label_evidence_version": label_files.EVIDENCE_VERSION,
                    "label_metrics_version": METRICS_VERSION,
                    "resamples": RESAMPLES,
                    "adapter": {"adapter": adapter.name, "adapter_version": adapter.version},
                    "shift": shift,
                    "indices": drawn.indices_sha256,
                }
                | evidence.identity(self.options.evidence_precision)
            )
            path = label_rows.path(self.results, about.stem, adapter.name, shift, row_id)
            tasks.append(LabelTask(adapter, drawn, row_id, path))
        return Work(about, tasks, job)

    def _gather(self, job: TrainingJob, sha256: str) -> LabelEvidence:
        return evidence.gather(job, sha256, self.results, self.pools, self.options.evidence_precision)

    def _measure(self, work: Work, pool: LabelEvidence, known: dict[str, Any]) -> None:
        fitted = Mean().fit(pool.evidence, pool.train_counts, pool.expert_priors, 0)
        scores = fitted.predict(pool.evidence)
        for task in work.missing(self.results):
            indices = task.draws.published[0].indices
            metrics = evaluate(scores[indices], pool.labels[indices], pool.train_counts)
            measured: dict[str, Any] = {
                "metrics_version": METRICS_VERSION,
                "n": metrics.n,
                "per_class_ap": list(metrics.per_class_ap),
                "per_class_positives": list(metrics.per_class_positives),
                "f1_micro": metrics.f1_micro,
                "f1_macro": metrics.f1_macro,
                "per_class_predicted": list(metrics.per_class_predicted),
                "per_class_right": list(metrics.per_class_right),
            }
            for name, interval in metrics.intervals.items():
                measured[name] = getattr(metrics, name)
                measured[f"{name}_interval"] = None if interval is None else list(interval)
            label_rows.store(task.path, self._label_row(work, task, pool, known | measured))

    def _label_row(self, work: Work, task: Task, pool: LabelEvidence, fields: dict[str, Any]) -> label_rows.LabelRow:
        """A row from what is known of the subject, the draw and what was measured."""
        assert work.job is not None
        about, adapter, draws = work.subject, task.adapter, task.draws
        labels = pool.labels[draws.published[0].indices]
        rank = class_rank(pool.train_counts, about.dataset.rank_by_index)
        values = {
            **about.fields,
            **fields,
            **self._circumstances(about, task, adapter.name),
            "schema_version": label_rows.ROW_SCHEMA,
            "task": "multi_label",
            "train_labels_per_image": float(pool.train_counts.sum() / work.job.training.n),
            "initial_weights": _initial_weights(work.job),
            "branches": pool.evidence.logits.shape[1],
            "adapter": adapter.name,
            "adapter_version": adapter.version,
            "evidence_version": label_files.EVIDENCE_VERSION,
            **adapter.access.fields,
            "selection": "last",
            "labels_per_image": float(labels.sum(axis=1).mean()),
            "indices_sha256": draws.indices_sha256,
            "tv_train_test": total_variation(pool.train_counts, labels.sum(axis=0)),
            "tv_wanted": miss(labels, draws.shift, rank),
        }
        return label_rows.LabelRow(**{name: values[name] for name in label_rows.FILES.kind.fields})

    def report(self) -> str:
        wanted = {task.row_id for work in self.works for task in work.tasks}
        part = leaderboard.read(self.results)["multi_label"]
        entries = [entry for entry in part["entries"] if wanted & set(entry["row_ids"])]
        lines = [f"note: {note}" for note in self.notes]
        lines += [table.render(entries, [str(shift) for shift in self.shifts])]
        lines += ["", f"leaderboard: {self.results / 'leaderboard.json'}    rows: {rows.folder(self.results)}"]
        return "\n".join(lines)


def _initial_weights(job: TrainingJob) -> str:
    """`random`, or the SHA-256 of the pre-trained weights that training starts from."""
    return f"pretrained {job.recipe.settings()['pretrained']}" if job.recipe.pretrained else "random"
