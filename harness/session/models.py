"""A model of a request: what its rows are about, and where its evidence comes from."""

from dataclasses import dataclass
from pathlib import Path

from harness.evidence.arrays import PoolEvidence
from harness.session.subject import Subject
from methods.jobs.job import TrainingJob
from methods.training import checkpoint


@dataclass(frozen=True)
class Model:
    """A subject with its training job, or (a stranger's) with its evidence at hand."""

    subject: Subject
    job: TrainingJob | None = None
    pool: PoolEvidence | None = None

    @property
    def title(self) -> str:
        """Method and seed, for messages."""
        return self.subject.fields["method"] + ("" if self.job is None else f" s{self.job.seed}")

    def checkpoint_sha256(self, results: Path) -> str | None:
        """Return the hash of the weights: of the checkpoint that there is, or of a stranger's evidence file."""
        if self.job is None:
            return str(self.subject.fields["checkpoint_sha256"])
        described = checkpoint.describe(self.job.path(results))
        return None if described is None else str(described["sha256"])
