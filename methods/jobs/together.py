"""Several trainings at once on one device, each in a process of its own.

Meant for a GPU, which one small network leaves idle between its kernels. On two CPU cores nothing was gained (six
`quick` trainings: 94 s two at a time, 82 s one by one). Weights on a CPU may differ in rounding from those of a
training alone, since each process has fewer threads.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import torch
from tqdm import tqdm

from methods.jobs.job import TrainingJob
from methods.training import checkpoint


def arguments_of(options: argparse.Namespace, job: TrainingJob) -> list[str]:
    """Return the command-line arguments of `methods.train` for one job of a command line."""
    given = {
        "--dataset": options.dataset,
        "--data-dir": options.data_dir,
        "--image-column": options.image_column,
        "--label-column": options.label_column,
        "--ids": options.ids,
        "--config": options.config,
        "--test-split": options.test_split,
        "--test-fraction": options.test_fraction,
        "--train-imbalance": options.train_imbalance,
        "--profile": options.profile,
        "--draw-rule": options.draw_rule,
        "--train-subset-seed": options.train_subset_seed,
        "--recipe": options.recipe,
        "--size": options.size,
        "--device": options.device,
        "--results": options.results,
        "--methods": job.method_name,
        "--seeds": job.seed,
        "--accumulate": None if job.accumulate == 1 else job.accumulate,
        "--pretrained": job.zoo,
    }
    words = [text for key, value in given.items() if value is not None for text in (key, str(value))]
    flags = {"--sync-bn": job.sync_bn, "--cuda-graphs": job.graphs}
    return [*words, *(flag for flag, on in flags.items() if on)]


def module_words(module: str) -> list[str]:
    """Return what follows `python` to run a module of ours from this folder, whatever packages the folder holds.

    Python looks in the working folder first; where that is not ours, `-P` keeps it from doing so.
    """
    ours = Path(__file__).resolve().parents[2]
    return [*([] if Path.cwd() == ours else ["-P"]), "-m", module]


def train_together(options: argparse.Namespace, jobs: Sequence[TrainingJob], processes: int) -> dict[str, str]:
    """Make the checkpoints that are missing, `processes` at a time; returns {stem: why} for those that failed.

    Where this process is interrupted (Ctrl-C), so are the others; what they finished, and their last epochs, are kept.
    Where it is killed outright they train on to their end; the same command again waits for them.
    """
    results: Path = options.results
    todo = [job for job in jobs if checkpoint.describe(job.path(results)) is None]
    if not todo:
        return {}
    threads = str(max(1, torch.get_num_threads() // processes))
    environment = os.environ | {"OMP_NUM_THREADS": threads}
    running: list[subprocess.Popen[str]] = []

    def train(job: TrainingJob) -> str | None:
        """Train the job in a process of its own. Return why it failed, or None."""
        words = [sys.executable, *module_words("methods.train"), *arguments_of(options, job)]
        process = subprocess.Popen(
            words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        running.append(process)
        said = [line for line in process.communicate()[1].strip().splitlines() if not line.startswith("note: ")]
        return None if process.returncode == 0 else (said or [f"exit status {process.returncode}"])[-1]

    failures: dict[str, str] = {}
    with ThreadPoolExecutor(processes) as pool, tqdm(total=len(todo), unit="model", leave=False, disable=None) as bar:
        bar.set_description_str(f"training, {processes} at a time")
        futures: dict[Future[str | None], TrainingJob] = {pool.submit(train, job): job for job in todo}
        left = set(futures)
        try:
            while left:
                done, left = wait(left, return_when=FIRST_COMPLETED)
                for future in done:
                    why = future.result()
                    if why is not None:
                        failures[futures[future].stem] = why.removeprefix("error: ")
                    bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.terminate()
            raise
    return failures
