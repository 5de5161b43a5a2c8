"""`python -m methods.train`: train models and keep their checkpoints."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from methods.jobs.arguments import (
    add_together_argument,
    add_training_arguments,
    check_graphs,
    check_writable,
    chosen_device,
    chosen_jobs,
    epochs_shown,
    tell_data,
)
from methods.processes import distributed
from shifts.common.command import Parser, add_list_argument, command
from shifts.common.errors import BadInput, WorkFailed
from shifts.sets.arguments import add_data_arguments

if TYPE_CHECKING:
    import torch

    from methods.jobs.job import Progress, TrainingJob

EXAMPLES = """\
  python -m methods.train --methods sade --seeds 0
  python -m methods.train --methods sade balpoe --seeds 0 1 2 --dry-run
  python -m methods.train --dataset cifar100 --recipe published-bf16 --seeds 0 1 2 --together 4 --cuda-graphs
  python -m methods.train --dataset cifar100 --recipe published --methods balpoe:tau=0/0.5/1/1.5/2 --device cuda
  torchrun --nproc-per-node 4 -m methods.train --dataset imagenet_lt --data-dir FOLDER --recipe published --methods sade
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Train what has no checkpoint yet and print each checkpoint's path; torchrun's processes train together."""
    from methods.processes import distributed

    parser = Parser("python -m methods.train", "Train methods; finished checkpoints are kept as they are.", EXAMPLES)
    add_data_arguments(parser)
    add_training_arguments(parser)
    add_together_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="show what is done, what would be trained, and its cost")
    add_list_argument(parser, _listing, "datasets, methods, recipes")
    with distributed.told_once():
        options = parser.parse_args(arguments)
        device = chosen_device(options.device)
        if options.sync_bn and device.type != "cuda":
            raise BadInput("--sync-bn: PyTorch synchronises BatchNorm on CUDA devices only, not on the CPU")
        if options.together > 1 and distributed.launched():
            raise BadInput("--together trains models apart, torchrun trains one across processes; choose one of them")
        with distributed.processes(device) as own:
            check_graphs(options, own)
            if options.dry_run:
                from methods.jobs.forecast import forecast

                distributed.from_main(lambda: print(forecast(chosen_jobs(options), options.results)))
                return
            _train(options, own)


def _listing() -> str:
    from methods.jobs.listing import as_text, sections

    return as_text(sections())


def _train(options: argparse.Namespace, device: "torch.device") -> None:
    """Make the checkpoints that `options` asks for. Raises WorkFailed, after the others, for those that failed."""
    from methods.jobs.together import train_together
    from methods.processes import distributed

    jobs = distributed.everywhere(lambda: chosen_jobs(options))
    distributed.from_main(lambda: check_writable(options.results))
    distributed.from_main(lambda: tell_data(jobs))
    failures = train_together(options, jobs, options.together) if options.together > 1 else {}
    failed = list(failures.values())
    for job in jobs:
        if job.stem in failures:
            continue
        with distributed.held_by_main(partial(job.lock, options.results)), _shown(job) as progress:
            try:
                job.make(options.results, device, progress)
            except WorkFailed as error:
                failed.append(str(error))
                continue
        if distributed.world().main:
            print(job.path(options.results))
    if failed:
        raise WorkFailed("; ".join(failed))


@contextmanager
def _shown(job: "TrainingJob") -> "Iterator[Progress]":
    """Show the job's epochs (`epochs_shown`) on the main process."""
    from methods.processes import distributed

    if distributed.world().main:
        with epochs_shown(f"{job.method_name} s{job.seed}") as progress:
            yield progress
    else:
        yield lambda stage, epoch, epochs, loss: None


if __name__ == "__main__":
    distributed.end(main(None) or 0)
