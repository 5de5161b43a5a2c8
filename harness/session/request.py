"""What is asked of models, as values: what the requests of all commands have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from methods.jobs.request import TrainingRequest, chosen_device
from shifts.common.errors import BadInput
from shifts.sets.request import ShiftRequest

if TYPE_CHECKING:
    from methods.jobs.job import TrainingJob

S = TypeVar("S")
"""The session that a request makes."""


@dataclass(frozen=True)
class Request(ABC, Generic[S]):
    """Models (ours by `training`, or a stranger's by the file `evidence`) on test sets; `views` are pairs an image.

    features: evidence of ours has features and classifiers, whatever the method.
    """

    training: TrainingRequest = TrainingRequest()
    shifts: ShiftRequest = ShiftRequest()
    evidence: Path | None = None
    views: int = 3
    evidence_precision: Literal["fp32", "bf16"] = "fp32"
    features: bool = False

    @abstractmethod
    def made(self, jobs: "Sequence[TrainingJob]") -> S:
        """Return the session over models of these jobs, or over the stranger's where `evidence` is given."""

    def check_names(self) -> None:
        """Raise BadInput for what is wrong whatever the data hold."""
        from shifts.labels.profiles import held_out

        shifts, _ = self.shifts.shifts()
        for path in (shift.path for shift in shifts if shift.path is not None):
            try:
                Path(path).open("rb").close()
            except OSError as error:
                raise BadInput(f"the file of a shift cannot be read: {path}: {error.strerror}") from error
        held_out(self.training.data.profile)
        self.training.check_graphs(chosen_device(self.training.device))

    def session(self, decode: bool = True) -> S:
        """Return the session that does it. Names are checked first; then data are read. Writes nothing.

        decode: as `TrainingRequest.jobs`. Raises BadInput.
        """
        self.check_names()
        return self.made(() if self.evidence is not None else self.training.jobs(decode))
