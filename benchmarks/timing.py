"""Interleaved timing: every variant once a round, so that a slow minute of the machine meets all of them."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from shifts.common.errors import WorkFailed


@dataclass(frozen=True)
class Timing:
    """Seconds of one variant over the rounds."""

    median: float
    least: float
    most: float
    rounds: int


def interleaved(
    variants: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, warmup: bool = True
) -> dict[str, Timing]:
    """Time each variant `rounds` times, in turn; one round before that is not counted where `warmup`."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + warmup):
        for name, work in variants.items():
            spent = timed(work, device)
            if number >= warmup:
                seconds[name].append(spent)
    return {
        name: Timing(statistics.median(found), min(found), max(found), len(found)) for name, found in seconds.items()
    }


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, to the end of what it started on the device."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def whole_command(module: str, *arguments: str) -> tuple[Timing, float]:
    """Return the seconds of a command in a process of its own, once, and its peak memory in GB.

    Pages of files that are looked at where they lie count as memory. Raises WorkFailed where it fails.
    """
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    spent = time.perf_counter() - start
    if status:
        raise WorkFailed(f"{module} failed")
    peak = usage.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, KiB elsewhere
    return Timing(spent, spent, spent, 1), peak


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
