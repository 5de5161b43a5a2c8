"""What one request asks of models: what they miss of it, the plan, doing it."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import redirect_stderr
from functools import lru_cache, partial
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock

from harness.passes import gather as passes
from harness.passes.pools import Pools
from harness.protocol.draws import Draws
from harness.session import subject
from harness.session.models import Model
from harness.session.request import Request
from methods.jobs.arguments import check_writable, epochs_shown, tell_data
from methods.jobs.forecast import weights_to_come
from methods.jobs.job import TrainingJob
from methods.jobs.request import TrainingRequest, chosen_device
from methods.processes.threads import threads
from methods.processes.workers import Inline, Outcome, outcome, take_slot, work_off
from shifts.common.environment import one_blas_thread
from shifts.common.errors import WorkFailed


class Session(ABC):
    """Models, and what a request asks of each. Making it reads data and raises BadInput; nothing is written."""

    asks: ClassVar[str]
    """What a model is asked for, counted in the plan."""
    keeps: ClassVar[str]
    """What finished work is called."""
    alone: ClassVar[bool] = False
    """Whether models are worked on one after another in this process, whatever the request says."""
    models: list[Model]

    def __init__(self, request: Any, training: TrainingRequest) -> None:
        """Begin a session; `request` makes the same one again in another process (`request.session()`)."""
        self.request = request
        self.training = training
        self.results = training.results
        self.device = chosen_device(training.device)
        training.check_graphs(self.device)
        self.pools = Pools(self.device)
        self.notes: list[str] = []

    @abstractmethod
    def asked(self, model: Model) -> Sequence[Any]:
        """Return all that is asked of a model."""

    @abstractmethod
    def missing(self, model: Model) -> Sequence[Any]:
        """Return what of it is not stored for the checkpoint that there is (for any, where there is none)."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder in which finished work is kept."""

    @abstractmethod
    def compute(self, model: Model, patience: float) -> None:
        """Make and store what is missing of a model. Raises Timeout after `patience` seconds, and WorkFailed."""

    def forecast(self) -> str:
        """Return the plan as text: what is stored, what would be done and trained for it, at what cost."""
        lines, total = [f"note: {note}" for note in self.notes], 0.0
        for model in self.models:
            asked, missing = len(self.asked(model)), len(self.missing(model))
            text = f"{model.subject.stem}: {asked - missing} of {asked} {self.asks} done"
            if model.job is not None and missing:
                words, cost = weights_to_come(model.job, self.results)
                total += cost
                text += f"; {words}" if words else ""
            lines.append(text)
        return "\n".join([*lines, *self.ends(total)])

    @abstractmethod
    def ends(self, operations: float) -> list[str]:
        """Return the last lines of the plan; `operations` are those of the training that is left."""

    def work(self) -> None:
        """Do what is missing. A model that another process works on is left for last; failures are collected.

        Raises WorkFailed, saying where finished work is: at the end, naming every model that failed, or at once where
        the operating system refuses (a full disk).
        """
        check_writable(self.results)
        tell_data(model.job for model in self.models if model.job is not None)
        kept = f" (finished {self.keeps} are kept under {self.folder})"
        todo = [place for place, model in enumerate(self.models) if self._left(model)]
        workers = min(self.workers(len(todo)), len(todo))
        apart = not self.alone and todo and (workers > 1 or self.training.engine != "local")
        try:
            with one_blas_thread():
                failures = self._side_by_side(todo, workers) if apart else self._in_turn(todo)
                self.end()
        except OSError as error:
            raise WorkFailed(f"{error}{kept}") from error
        if failures:
            raise WorkFailed(failures + kept)

    def end(self) -> None:  # noqa: B027 - most sessions have nothing to add
        """Make what is made once, when all models are done."""

    def _left(self, model: Model) -> bool:
        """Return whether something is to be done for a model, even if that is to fail."""
        try:
            return bool(self.missing(model))
        except WorkFailed:
            return True

    def workers(self, models: int) -> int:
        """Return how many processes share so many models; each has its own."""
        threads = max((model.job.threads for model in self.models if model.job is not None), default=1)
        return self.training.chosen_workers(models, threads, self.device.type)

    def _in_turn(self, todo: Sequence[int]) -> str:
        """Make these models one after another in this process; returns which failed and why."""

        def work(number: int, patient: bool, slot: int) -> Outcome:
            return outcome(lambda: self.finish(self.models[todo[number]], patient))

        return work_off([self.models[place].title for place in todo], work, Inline, 1)

    def _side_by_side(self, todo: Sequence[int], workers: int) -> str:
        """Make these models, longest first, in other processes, which make this session again from its request."""
        longest = sorted(todo, key=lambda place: self._cost(self.models[place]), reverse=True)
        titles = [self.models[place].title for place in longest]
        work = partial(_elsewhere, self.request, f"{os.getpid()} {time.time()}", tuple(longest))
        return self.training.work_off(titles, work, workers)

    def _cost(self, model: Model) -> float:
        """Return about how many operations it takes to train a model."""
        return 0.0 if model.job is None else weights_to_come(model.job, self.results)[1]

    def finish(self, model: Model, wait: bool) -> str:
        """Do what a model misses; returns what to say of it. Raises WorkFailed.

        Raises Timeout if another process is at it; with `wait` that is waited for.
        """
        if not self.missing(model):
            return ""
        patience = -1 if wait else 0
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{model.subject.stem}.lock").acquire(timeout=patience):
            if not self.missing(model):
                return ""
            self.compute(model, patience)
        return self.told(model)

    def told(self, model: Model) -> str:
        """Return a line on what came of a finished model."""
        return f"{len(self.asked(model))} {self.asks}"

    def trained(self, job: TrainingJob) -> dict[str, Any]:
        """Return what describes a job's checkpoint, made where missing. The caller holds the job's lock.

        Raises WorkFailed.
        """
        with epochs_shown(f"  {job.method_name} s{job.seed}") as progress:
            return job.make(self.results, self.device, progress)


class EvidenceSession(Session):
    """A session that reads evidence on shifts: of models of ours, or of one that a file is all we have of.

    jobs: what our models are trained by; none beside `request.evidence`.
    """

    def __init__(self, request: Request[Any], jobs: Sequence[TrainingJob]) -> None:
        super().__init__(request, request.training)
        self.shifts, self.notes = request.shifts.shifts()
        self.views, self.precision, self.features = request.views, request.evidence_precision, request.features
        if request.evidence is None:
            how = self.views, self.precision, self.features
            self.models = [Model(subject.of_job(job, *how), job=job) for job in jobs]
        else:
            about, pool = subject.stranger(request.evidence)
            self.models = [Model(about, pool=pool)]

    def draws(self, redraws: int) -> list[Draws]:
        """Return the draws of every shift; all models of one request share test pool and training set."""
        about = self.models[0].subject
        return [Draws(about.dataset, about.train_counts, shift, redraws) for shift in self.shifts]

    def evidence(self, model: Model, patience: float) -> tuple[Any, dict[str, Any]]:
        """Return a model's evidence, and the row fields that are known of its checkpoint; both are made where missing.

        Raises Timeout and WorkFailed.
        """
        if model.job is None:
            return model.pool, {}
        with model.job.lock(self.results).acquire(timeout=patience), threads(model.job.threads):
            described = self.trained(model.job)
            pool = self.gather(model.job, described["sha256"])
        known = {name: described[name] for name in ("parameters", "macs", "train_seconds")}
        known |= {"checkpoint_sha256": described["sha256"], "evidence_seconds": float(pool.metadata["seconds"])}
        return pool, known

    def gather(self, job: TrainingJob, sha256: str) -> Any:
        """Return the evidence of a checkpoint."""
        return passes.gather(job, sha256, self.results, self.pools, self.views, self.precision)


@lru_cache(maxsize=1)
def _session(request: Any, command: str) -> Session:
    """Return a worker's session, made once a command; what is to be told of it the main process tells."""
    with redirect_stderr(StringIO()):
        made: Session = request.session()
    return made


def _elsewhere(request: Any, command: str, todo: Sequence[int], number: int, patient: bool, slot: int) -> Outcome:
    """Finish a model of a request in a worker's process."""
    take_slot(slot)
    session = _session(request, command)
    return outcome(lambda: session.finish(session.models[todo[number]], patient))
