"""`python -m methods.train`: train models and keep their checkpoints."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import lru_cache, partial
from io import StringIO
from typing import TYPE_CHECKING

from methods.jobs.arguments import (
    add_training_arguments,
    check_writable,
    epochs_shown,
    tell_data,
)
from methods.jobs.request import TrainingRequest, chosen_device
from methods.processes import distributed
from shifts.common.command import Parser, add_list_argument, command
from shifts.common.errors import BadInput, WorkFailed
from shifts.common.requests import request_of
from shifts.sets.arguments import add_data_arguments

if TYPE_CHECKING:
    import torch

    from methods.jobs.job import Progress, TrainingJob
    from methods.processes.workers import Outcome

EXAMPLES = """\
  python -m methods.train --methods sade --seeds 0
  python -m methods.train --methods sade balpoe --seeds 0 1 2 --dry-run
  python -m methods.train --dataset cifar100 --recipe published-bf16 --seeds 0 1 2 --workers 4 --cuda-graphs
  python -m methods.train --dataset cifar100 --recipe published --methods balpoe:tau=0/0.5/1/1.5/2 --device cuda
  torchrun --nproc-per-node 4 -m methods.train --dataset imagenet_lt --data-dir FOLDER --recipe published --methods sade
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Train what has no checkpoint yet and print each checkpoint's path; torchrun's processes train together."""
    parser = Parser("python -m methods.train", "Train methods; finished checkpoints are kept as they are.", EXAMPLES)
    add_data_arguments(parser)
    add_training_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="show what is done, what would be trained, and its cost")
    add_list_argument(parser, _listing, "datasets, methods, recipes")
    with distributed.told_once():
        options = parser.parse_args(arguments)
        request = request_of(TrainingRequest, options)
        device = chosen_device(request.device)
        if request.sync_bn and device.type != "cuda":
            raise BadInput("--sync-bn: PyTorch synchronises BatchNorm on CUDA devices only, not on the CPU")
        with distributed.processes(device) as own:
            request.check_graphs(own)
            if options.dry_run:
                from methods.jobs.forecast import forecast

                distributed.from_main(lambda: print(forecast(request.jobs(decode=False), request.results)))
                return
            _train(request, own)


def _listing() -> str:
    from methods.jobs.listing import as_text, sections

    return as_text(sections())


def _train(request: TrainingRequest, device: "torch.device") -> None:
    """Make the checkpoints that are asked for. Raises WorkFailed, after the others, for those that failed."""
    jobs = distributed.everywhere(request.jobs)
    distributed.from_main(lambda: check_writable(request.results))
    distributed.from_main(lambda: tell_data(jobs))
    todo = [job for job in jobs if not _finished(job, request)]
    threads = max(job.threads for job in jobs)
    count = min(request.chosen_workers(len(todo), threads, device.type), len(todo))
    if todo and (count > 1 or request.engine != "local"):
        stems = tuple(job.stem for job in todo)
        work = partial(_elsewhere, request, f"{os.getpid()} {time.time()}", stems)
        failures = request.work_off([f"{job.method_name} s{job.seed}" for job in todo], work, count)
        for job in jobs:
            if _finished(job, request):
                print(job.path(request.results))
        if failures:
            raise WorkFailed(failures)
        return
    failed = []
    for job in jobs:
        with distributed.held_by_main(partial(job.lock, request.results)), _shown(job) as progress:
            try:
                job.make(request.results, device, progress)
            except WorkFailed as error:
                failed.append(str(error))
                continue
        if distributed.world().main:
            print(job.path(request.results))
    if failed:
        raise WorkFailed("; ".join(failed))


def _finished(job: "TrainingJob", request: TrainingRequest) -> bool:
    """Return whether a job's checkpoint is there; one that cannot be read fails where it is made."""
    from methods.training import checkpoint

    try:
        return checkpoint.describe(job.path(request.results)) is not None
    except WorkFailed:
        return False


@lru_cache(maxsize=1)
def _jobs(request: TrainingRequest, command: str) -> "list[TrainingJob]":
    """Return a worker's jobs, made once a command; what is to be told of them the main process tells."""
    with redirect_stderr(StringIO()):
        return request.jobs()


def _elsewhere(
    request: TrainingRequest, command: str, stems: Sequence[str], number: int, patient: bool, slot: int
) -> "Outcome":
    """Make one checkpoint in a worker's process."""
    from methods.processes.workers import duration, outcome, take_slot

    take_slot(slot)
    (job,) = (job for job in _jobs(request, command) if job.stem == stems[number])
    device = chosen_device(request.device)

    def make() -> str:
        with job.lock(request.results).acquire(timeout=-1 if patient else 0), _shown(job) as progress:
            return f"trained in {duration(job.make(request.results, device, progress)['train_seconds'])}"

    return outcome(make)


@contextmanager
def _shown(job: "TrainingJob") -> "Iterator[Progress]":
    """Show the epochs of a job on the main process (`epochs_shown`)."""
    if distributed.world().main:
        with epochs_shown(f"{job.method_name} s{job.seed}") as progress:
            yield progress
    else:
        yield lambda stage, epoch, epochs, loss: None


if __name__ == "__main__":
    distributed.end(main(None) or 0)
