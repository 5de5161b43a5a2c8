"""Training arguments that commands share, and what they print and check before work."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shifts.common.command import whole
from shifts.common.errors import BadInput
from shifts.sets.arguments import seed

EVERY = 60
"""Seconds between lines on a training where there is no terminal."""

if TYPE_CHECKING:
    from methods.jobs.job import Progress, TrainingJob


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on what is trained, how, and where results go."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="methods, options on the name; all: every one that fits the data (default: one for each paper)",
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
    group.add_argument(
        "--workers",
        type=_workers,
        default="auto",
        metavar="N",
        help="models made at once, each in a process of its own; numbers do not depend on it (default: auto, by idle "
        "cores and memory)",
    )
    group.add_argument(
        "--engine",
        choices=("local", "dask"),
        default="local",
        help="where: in processes of this machine, or on the workers of a Dask cluster that share --results (default: "
        "local)",
    )
    group.add_argument("--scheduler", metavar="ADDRESS", help="with --engine dask: its scheduler, tcp://host:8786")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    group.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")


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
    """Show the epochs of a training: a bar on a terminal, elsewhere a line a minute on stderr."""
    from tqdm import tqdm

    from methods.processes import workers

    start = told = time.monotonic()
    first: int | None = None
    with tqdm(desc=title, unit="epoch", leave=False, disable=None, position=workers.SLOT + 1) as bar:

        def progress(stage: str, epoch: int, epochs: int, loss: float) -> None:
            nonlocal told, first
            workers.leave_if_alone()
            now, first = time.monotonic(), epoch - 1 if first is None else first
            bar.total = epochs
            bar.set_postfix_str(f"{stage}, loss {loss:.3f}", refresh=False)
            bar.n = epoch
            bar.refresh()
            if bar.disable and now - told >= EVERY:
                told, left = now, (now - start) / (epoch - first) * (epochs - epoch)
                text = f"{title.strip()}: epoch {epoch} of {epochs} ({stage}), loss {loss:.3f}"
                print(f"{text}, about {workers.duration(left)} left", file=sys.stderr, flush=True)

        yield progress


def _workers(text: str) -> int | Literal["auto"]:
    return "auto" if text == "auto" else whole(1)(text)
