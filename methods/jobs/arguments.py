"""Training arguments that commands share, and the jobs that they ask for."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shifts.common.command import whole
from shifts.common.errors import BadInput
from shifts.sets.arguments import chosen_dataset, chosen_training_set, seed

if TYPE_CHECKING:
    import torch

    from methods.jobs.job import Progress, TrainingJob


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on what is trained, how, and where results go."""
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
    """Add `--together`, for commands that train what their options say and nothing else."""
    parser.add_argument(
        "--together",
        type=whole(1),
        default=1,
        metavar="N",
        help="train N models at once, each in a process of its own (default: 1)",
    )


def chosen_device(name: str) -> "torch.device":
    """Return the device of that name; `auto`: a CUDA device if there is one. Raises BadInput for `cuda` without one."""
    import torch

    from methods.core.versions import tell_untested

    tell_untested(torch.__version__)
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: no CUDA device is available here; allowed: auto, cpu")
    return torch.device("cpu" if name == "cpu" or not torch.cuda.is_available() else "cuda")


def check_graphs(options: argparse.Namespace, device: "torch.device") -> None:
    """Raise BadInput where CUDA graphs are asked for and cannot be made."""
    from methods.processes import distributed

    if options.cuda_graphs and (device.type != "cuda" or distributed.world().size > 1):
        raise BadInput("--cuda-graphs: needs a CUDA device and a single process")
    if options.cuda_graphs and options.accumulate > 1:
        # each piece sets the generator back, which a graph cannot
        raise BadInput("--cuda-graphs: needs whole batches (--accumulate 1)")


def chosen_jobs(options: argparse.Namespace) -> "list[TrainingJob]":
    """Return one training job for each method and seed, methods outermost. Raises BadInput."""
    from methods import networks, papers
    from methods.core import recipes
    from methods.core.batches import LEAST
    from methods.jobs.job import TrainingJob
    from methods.jobs.sizes import check_sizes, sizes_of_splits
    from methods.processes import distributed
    from shifts.checks.checkup import checked

    # Names are checked before any data is read.
    chosen = [papers.get(name) for name in dict.fromkeys(options.methods or [])]
    setting = recipes.get(options.recipe, options.dataset)
    setting = setting if options.size is None else setting.sized(options.size)
    networks.check(setting.backbone)
    setting.weights()
    dataset = checked(chosen_dataset(options), decode=not getattr(options, "dry_run", False))
    chosen = chosen or list(map(papers.get, papers.of_task(dataset.entry.task)))
    for method in chosen:
        papers.check_task(method, dataset.entry.task, dataset.name)
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
            if advised := recipes.PUBLISHED_OPTIONS.get((name, dataset.name)):
                print(f"note: on {dataset.name} {name} was published as {advised}", file=sys.stderr)
    if options.pretrained is not None:
        check_packed(jobs, options.pretrained, options.results)
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
    """Show a progress bar over a job's epochs on a terminal, nothing otherwise."""
    from tqdm import tqdm

    with tqdm(desc=title, unit="epoch", leave=False, disable=None) as bar:

        def progress(stage: str, epoch: int, epochs: int, loss: float) -> None:
            bar.total = epochs
            bar.set_postfix_str(f"{stage}, loss {loss:.3f}", refresh=False)
            bar.n = epoch
            bar.refresh()

        yield progress


def check_packed(jobs: Sequence["TrainingJob"], zoo: Path, results: Path) -> None:
    """Raise BadInput, naming what there is, if a job has neither weights in the zoo nor a checkpoint in `results`."""
    from methods.jobs.packed import has, listed
    from methods.training import checkpoint

    for job in jobs:
        if not has(job.stem, job.key, zoo) and checkpoint.describe(job.path(results)) is None:
            wanted = f"{job.dataset.name} {job.method_name} {job.recipe.name} seed {job.seed}"
            there = "; ".join(listed(zoo)) or "nothing"
            raise BadInput(f"--pretrained: {zoo} has no weights of {wanted} on this training set; it has: {there}")
