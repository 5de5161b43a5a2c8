"""A run of the main command on label sets: as any other, with its own evidence, metrics, rows and table.

Only the adapter `mean` applies: what the others do needs a softmax over classes, of which an image has one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness import adapters
from harness.adapters.mean import Mean
from harness.board import label_table as table
from harness.board.schema import Board
from harness.evidence import label_files
from harness.evidence.label_files import LabelEvidence
from harness.measures.label_metrics import METRICS_VERSION, RESAMPLES, evaluate
from harness.passes import labels as evidence
from harness.protocol.draws import Draws
from harness.protocol.measure import AnyAdapter
from harness.records import label_rows
from harness.session.models import Model
from harness.session.request import Request
from harness.session.row_session import RowSession
from harness.session.subject import Subject
from harness.session.tasks import Task
from methods.jobs.job import TrainingJob
from shifts.common.errors import BadInput
from shifts.common.files import digest
from shifts.labels.distance import total_variation
from shifts.labels.profiles import class_rank
from shifts.labels.selection import miss


@dataclass(frozen=True)
class LabelTask(Task):
    """One multi-label row to be."""

    def complete(self, checkpoint_sha256: str | None) -> bool:
        return label_rows.complete(self.path, checkpoint_sha256)


class LabelSession(RowSession):
    """Every multi-label model on every shift: a row each."""

    def __init__(
        self, request: Request[Any], jobs: Sequence[TrainingJob], named: Sequence[str] = (), redraws: int = 0
    ) -> None:
        """Plan rows; `named` are the adapters that are asked for by name."""
        check_adapters(jobs[0].dataset.name, map(adapters.get, named))
        super().__init__(request, jobs, named, redraws)
        if not named:
            self.notes.append("label sets take the adapter mean only; views and redraws are not used")
        drawn = self.draws(0)
        self.tasks = {model.subject.stem: [self._task(model.subject, each) for each in drawn] for model in self.models}

    def chosen_adapters(self, named: Sequence[str]) -> list[AnyAdapter]:
        """Return the one that applies."""
        return [Mean()]

    def _task(self, about: Subject, drawn: Draws) -> LabelTask:
        adapter, shift = Mean(), str(drawn.shift)
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
            | evidence.identity(self.precision)
        )
        path = label_rows.path(self.results, about.stem, adapter.name, shift, row_id)
        return LabelTask(adapter, drawn, row_id, path)

    def gather(self, job: TrainingJob, sha256: str) -> LabelEvidence:
        """Return the evidence of a checkpoint."""
        return evidence.gather(job, sha256, self.results, self.pools, self.precision)

    def compute(self, model: Model, patience: float) -> None:
        """Measure and store the missing rows of a model."""
        pool, known = self.evidence(model, patience)
        fitted = Mean().fit(pool.evidence, pool.train_counts, pool.expert_priors, 0)
        scores = fitted.predict(pool.evidence)
        for task in self.missing(model):
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
            label_rows.store(task.path, self._row(model, task, pool, known | measured))

    def told(self, model: Model) -> str:
        """Return a line on the model's rows: how many, and the mean of mean average precision."""
        found = [label_rows.read(task.path).map for task in self.asked(model)]
        return f"{len(found)} rows, mean average precision {100 * sum(found) / len(found):.1f} %"

    def answer(self, entries: Sequence[Any]) -> list[str]:
        """Return nothing: only one adapter applies."""
        return []

    def _row(self, model: Model, task: Task, pool: LabelEvidence, fields: dict[str, Any]) -> label_rows.LabelRow:
        """Return a row of what is known of the model, the draw and what was measured."""
        assert model.job is not None
        about, adapter, draws = model.subject, task.adapter, task.draws
        labels = pool.labels[draws.published[0].indices]
        rank = class_rank(pool.train_counts, about.dataset.rank_by_index)
        values = {
            **about.fields,
            **fields,
            **self.circumstances(about, task, adapter.name),
            "schema_version": label_rows.ROW_SCHEMA,
            "task": "multi_label",
            "train_labels_per_image": float(pool.train_counts.sum() / model.job.training.n),
            "initial_weights": _initial_weights(model.job),
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

    def part(self, board: Board) -> Sequence[Any]:
        """Return the entries that such rows are in."""
        return board["multi_label"]["entries"]

    def table(self, entries: Sequence[Any], top: int, width: int | None) -> str:
        """Return entries as a table."""
        return table.render(entries, [str(shift) for shift in self.shifts])


def _initial_weights(job: TrainingJob) -> str:
    """Return `random`, or the SHA-256 of the pre-trained weights that training starts from."""
    return f"pretrained {job.recipe.settings()['pretrained']}" if job.recipe.pretrained else "random"


def check_adapters(dataset: str, chosen: Iterable[AnyAdapter]) -> None:
    """Raise BadInput for an adapter that needs a softmax over classes, of which an image with a label set has none."""
    for adapter in chosen:
        if not isinstance(adapter, Mean):
            raise BadInput(
                f"adapter {adapter.name} does not apply to {dataset}, whose images have label sets; "
                f"allowed: {Mean.name}"
            )
