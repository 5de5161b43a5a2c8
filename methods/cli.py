"""Training arguments that commands share, and the command `python -m methods.train`."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shifts.cli import (
    Parser,
    add_data_arguments,
    add_list_argument,
    chosen_dataset,
    chosen_training_set,
    command,
    seed,
    whole,
)
from shifts.errors import BadInput, WorkFailed

if TYPE_CHECKING:
    import torch

    from methods.job import Progress, TrainingJob

EXAMPLES = """\
  python -m methods.train --methods sade --seeds 0
  python -m methods.train --methods sade balpoe --seeds 0 1 2 --dry-run
  python -m methods.train --dataset cifar100 --recipe published-bf16 --seeds 0 1 2 --together 4 --cuda-graphs
  python -m methods.train --dataset cifar100 --recipe published --methods balpoe:tau=0/0.5/1/1.5/2 --device cuda
  torchrun --nproc-per-node 4 -m methods.train --dataset imagenet_lt --data-dir FOLDER --recipe published --methods sade
"""


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained, how, and where results go."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="methods, options on the name (default: all that fit the data)",
    )
    group.add_argument(
        "--recipe",
        default="quick",
        help="quick or published, either -xF (F times its epochs) and -bf16, or a TOML file; --list shows its fields "
        "(default: quick)",
    )
    group.add_argument(
        "--size",
        type=whole(1),
        metavar="N",
        help="resize all images to N x N pixels, for images of different sizes; the recipe's name gets -sizeN",
    )
    group.add_argument("--seeds", nargs="+", type=seed, default=[0], metavar="SEED", help="train seeds (default: 0)")
    group.add_argument(
        "--accumulate",
        type=whole(1),
        default=1,
        metavar="K",
        help="backward passes a step, to save memory (default: 1)",
    )
    group.add_argument(
        "--sync-bn", action="store_true", help="BatchNorm over the whole batch in several processes too (CUDA)"
    )
    group.add_argument(
        "--pretrained",
        nargs="?",
        type=Path,
        const=Path("results") / "zoo",
        metavar="ZOO",
        help="take packed weights from this folder instead of training (default without a value: results/zoo)",
    )
    group.add_argument(
        "--cuda-graphs", action="store_true", help="record training steps as CUDA graphs (one process on CUDA)"
    )
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    group.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")


def add_together_argument(parser: argparse.ArgumentParser) -> None:
    """`--together`, for commands that train what their options say and nothing else."""
    parser.add_argument(
        "--together",
        type=whole(1),
        default=1,
        metavar="N",
        help="train N models at once, each in a process of its own (default: 1)",
    )


def chosen_device(name: str) -> "torch.device":
    """`auto` = a CUDA device if there is one. Raises BadInput for `cuda` without one."""
    import torch

    from methods.versions import tell_untested

    tell_untested(torch.__version__)
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: no CUDA device is available here; allowed: auto, cpu")
    return torch.device("cpu" if name == "cpu" or not torch.cuda.is_available() else "cuda")


def check_graphs(options: argparse.Namespace, device: "torch.device") -> None:
    """Raise BadInput where CUDA graphs are asked for and cannot be made."""
    from methods import distributed

    if options.cuda_graphs and (device.type != "cuda" or distributed.world().size > 1):
        raise BadInput("--cuda-graphs: needs a CUDA device and a single process")
    if options.cuda_graphs and options.accumulate > 1:
        # each piece sets the generator back, which a graph cannot
        raise BadInput("--cuda-graphs: needs whole batches (--accumulate 1)")


def chosen_jobs(options: argparse.Namespace) -> "list[TrainingJob]":
    """One training job for each method and seed, methods outermost. Raises BadInput."""
    import methods
    from methods import distributed, networks, recipe, zoo
    from methods.batches import LEAST
    from methods.job import TrainingJob
    from methods.sizes import check_sizes, sizes_of_splits
    from shifts.checkup import checked

    # Names are checked before any data is read.
    chosen = [methods.get(name) for name in dict.fromkeys(options.methods or [])]
    setting = recipe.get(options.recipe, options.dataset)
    setting = setting if options.size is None else setting.sized(options.size)
    networks.check(setting.backbone)
    setting.weights()
    dataset = checked(chosen_dataset(options), decode=not getattr(options, "dry_run", False))
    chosen = chosen or list(map(methods.get, methods.of_task(dataset.entry.task)))
    for method in chosen:
        methods.check_task(method, dataset.entry.task, dataset.name)
    check_sizes(setting, sizes_of_splits(dataset))
    training = chosen_training_set(options, dataset)
    if training.n < LEAST:
        raise BadInput(f"{dataset.name} has one training image; at least two are needed")
    how = options.accumulate, options.sync_bn, options.pretrained, options.cuda_graphs
    jobs = [
        TrainingJob(dataset, training, method, setting, train_seed, *how)
        for method in chosen
        for train_seed in dict.fromkeys(options.seeds)
    ]
    if setting.name.startswith("published") and distributed.world().main:
        for name in dict.fromkeys(job.method_name for job in jobs):
            if advised := recipe.PUBLISHED_OPTIONS.get((name, dataset.name)):
                print(f"note: on {dataset.name} {name} was published as {advised}", file=sys.stderr)
    if options.pretrained is not None:
        zoo.check(jobs, options.pretrained, options.results)
    return jobs


def tell_data(jobs: "Iterable[TrainingJob]") -> None:
    """Print what the check-up found that can change numbers, a line each on stderr, each once."""
    for text in dict.fromkeys(note.text for job in jobs for note in job.dataset.notes if note.weight == "numbers"):
        print(f"note: {text}", file=sys.stderr)


def check_writable(results: Path) -> None:
    """Raise BadInput if the results folder cannot be written to (it is made if missing)."""
    if results.exists() and not results.is_dir():
        raise BadInput(f"--results {results} is a file; give a folder")
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--results {results}: {error.strerror}") from error
    if not os.access(results, os.W_OK | os.X_OK):
        raise BadInput(f"--results {results} is not writable")


@contextmanager
def epochs_shown(title: str) -> "Iterator[Progress]":
    """A progress bar over a job's epochs on a terminal; nothing otherwise."""
    from tqdm import tqdm

    with tqdm(desc=title, unit="epoch", leave=False, disable=None) as bar:

        def progress(stage: str, epoch: int, epochs: int, loss: float) -> None:
            bar.total = epochs
            bar.set_postfix_str(f"{stage}, loss {loss:.3f}", refresh=False)
            bar.n = epoch
            bar.refresh()

        yield progress


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Train what has no checkpoint yet and print each checkpoint's path; torchrun's processes train together."""
    from methods import distributed

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
                from methods.plan import forecast

                distributed.from_main(lambda: print(forecast(chosen_jobs(options), options.results)))
                return
            _train(options, own)


def _listing() -> str:
    from methods.listing import as_text, sections

    return as_text(sections())


def _train(options: argparse.Namespace, device: "torch.device") -> None:
    """Make the checkpoints that `options` asks for. Raises WorkFailed, after the others, for those that failed."""
    from methods import distributed
    from methods.together import train_together

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
    """`epochs_shown` on the main process."""
    from methods import distributed

    if distributed.world().main:
        with epochs_shown(f"{job.method_name} s{job.seed}") as progress:
            yield progress
    else:
        yield lambda stage, epoch, epochs, loss: None
