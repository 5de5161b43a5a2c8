"""What the main command is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness import adapters
from harness.board.build import check_schema
from harness.session.label_session import LabelSession, check_adapters
from harness.session.request import Request
from harness.session.row_session import RowSession
from methods.jobs.job import TrainingJob
from shifts.images.entries import ENTRIES


@dataclass(frozen=True)
class RunRequest(Request[RowSession]):
    """Adapters (none: all of them) on every shift, with `redraws` further draws of each."""

    adapters: tuple[str, ...] = ()
    redraws: int = 10

    def check_names(self) -> None:
        """Raise BadInput for what is wrong whatever the data hold."""
        check_schema(self.training.results / "leaderboard.json")
        chosen, dataset = [adapters.get(name) for name in self.adapters], self.training.data.dataset
        if self.evidence is None and dataset in [entry.name for entry in ENTRIES if entry.task == "multi_label"]:
            check_adapters(dataset, chosen)
        super().check_names()

    def made(self, jobs: Sequence[TrainingJob]) -> RowSession:
        """Return the session for the task of the data."""
        of_label_sets = bool(jobs) and jobs[0].dataset.task == "multi_label"
        kind = LabelSession if of_label_sets else RowSession
        return kind(self, jobs, self.adapters, self.redraws)
