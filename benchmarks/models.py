"""Two models beside one another, and beside somebody else: whole processes, on an idle machine and a busy one.

`reference` trains one model after another, each on all cores, with OpenMP's threads spinning while they wait (what
PyTorch does by itself). `workers` trains each in a process of its own on one thread, as the commands do.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from loky import cpu_count

from benchmarks.parts import Line, Work
from benchmarks.timing import Timing

IMAGES = 1_280
MODELS = 2
CHILD = """\
import sys, tempfile
from dataclasses import replace
from pathlib import Path
import torch
from benchmarks.parts import Work
from methods.core.recipes import PUBLISHED
from methods.training.loop import train
threads, models, images = map(int, sys.argv[1:])
torch.set_num_threads(threads)
work = Work(torch.device("cpu"), 100, 1)
recipe = replace(PUBLISHED, name="benchmark", epochs=1, warmup=0, milestones=(1, 1))
data = replace(work.training, images=work.training.images[:images], labels=work.training.labels[:images])
print("ready", flush=True)
sys.stdin.readline()
for seed in range(models):
    with tempfile.TemporaryDirectory() as folder:
        train(work.method, recipe, data, seed, resume=Path(folder) / "state", key="benchmark")
print("done", flush=True)
"""


class Training:
    """A process that is ready to train so many models on so many threads, and does when it is told."""

    def __init__(self, threads: int, models: int, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(threads), str(models), str(IMAGES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def ready(self) -> None:
        """Wait until everything is loaded."""
        self._expect("ready")

    def begin(self) -> None:
        """Tell it to train."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Wait until it has trained."""
        self._expect("done")
        self._process.communicate()

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if said != word:
            raise RuntimeError(f"a training process said {said!r}, not {word!r}")


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """Keep one core busy with another process's work, where asked to."""
    process = multiprocessing.get_context("spawn").Process(target=_count, daemon=True)
    if busy:
        process.start()
    try:
        yield
    finally:
        if busy:
            process.kill()
            process.join()


def _count() -> None:
    number = 0
    while True:
        number += 1


@dataclass(frozen=True)
class Way:
    """How the models are trained: processes at once, models one after another in each, threads, environment."""

    processes: int
    models: int
    threads: int
    environment: Mapping[str, str]

    def seconds(self) -> float:
        """Train them and return how long it took without the loading."""
        made = [Training(self.threads, self.models, self.environment) for _ in range(self.processes)]
        for one in made:
            one.ready()
        start = time.perf_counter()
        for one in made:
            one.begin()
        for one in made:
            one.end()
        return time.perf_counter() - start


def two_models(work: Work) -> list[Line]:
    """Time two trainings, idle and beside a busy process."""
    cores = cpu_count()
    ways = {
        "reference": Way(1, MODELS, cores, {"OMP_WAIT_POLICY": "ACTIVE", "OPENBLAS_NUM_THREADS": str(cores)}),
        "workers": Way(MODELS, 1, 1, {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}),
    }
    lines = []
    for busy in (False, True):
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        with neighbour(busy):
            for _ in range(work.rounds):
                for name, way in ways.items():
                    seconds[name].append(way.seconds())
        part = "two models" + (", busy" if busy else "")
        for name, found in seconds.items():
            timing = Timing(statistics.median(found), min(found), max(found), len(found))
            lines.append(Line(part, name, timing, MODELS * IMAGES, 6.0 * work.macs * MODELS * IMAGES, "fp32"))
    return lines
