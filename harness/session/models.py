"""A model of a command line with what is asked of it."""

from dataclasses import dataclass
from pathlib import Path

from harness.evidence.arrays import PoolEvidence
from harness.session.subject import Subject
from harness.session.tasks import Task
from methods.jobs.job import TrainingJob
from methods.training import checkpoint


@dataclass(frozen=True)
class Work:
    """A subject with its rows. `job` is None for a stranger's evidence, whose `pool` is then at hand."""

    subject: Subject
    tasks: list[Task]
    job: TrainingJob | None = None
    pool: PoolEvidence | None = None

    @property
    def title(self) -> str:
        """Method and seed, for messages."""
        return self.subject.fields["method"] + ("" if self.job is None else f" s{self.job.seed}")

    def missing(self, results: Path) -> list[Task]:
        """Tasks without a complete row for the checkpoint that there is."""
        sha256 = self.subject.fields.get("checkpoint_sha256")
        if self.job is not None:
            described = checkpoint.describe(self.job.path(results))
            sha256 = None if described is None else described["sha256"]
        return [task for task in self.tasks if not task.complete(sha256)]


@dataclass(frozen=True)
class Model:
    """What is studied: a subject with its training job, or (a stranger's) with its evidence at hand."""

    subject: Subject
    job: TrainingJob | None = None
    pool: PoolEvidence | None = None

    @property
    def title(self) -> str:
        """Method and seed, for messages."""
        seed = "" if self.job is None else f" s{self.job.seed}"
        return f"{self.subject.fields['method']}{seed}"
