"""One training run in several processes: `torchrun --nproc-per-node N -m methods.train ...`, on one machine or more.

The main process (rank 0) alone reads and writes results; what it found or failed at is sent to all, so machines need
not share a disk. How they share the work is in `methods.processes.parallel`. Without torchrun nothing of this is in
use.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, cast

import torch
from filelock import BaseFileLock

from shifts.common.errors import BadInput, WorkFailed

T = TypeVar("T")

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets in the environment."""
PATIENCE = timedelta(days=2)
"""The main process may wait that long for another run's lock; torchrun itself ends a run whose process died."""
FAILURES = (BadInput, WorkFailed, OSError)


@dataclass(frozen=True)
class World:
    """This process among those that train together: rank from 0, and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that reads, writes and speaks."""
        return self.rank == 0


def launched() -> bool:
    """Return whether torchrun (or a launcher that sets the same variables) started this process."""
    return all(name in os.environ for name in LAUNCHED)


def world() -> World:
    """Return the processes of the running group; a world of one outside `processes`."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return World(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return World()


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Join torchrun's processes and yield this one's device: GPU number LOCAL_RANK, or the CPU; alone, `device`.

    Gradients travel by NCCL between GPUs, everything else by gloo. Raises BadInput where a machine has more processes
    than GPUs, and where GPUs are of several models, which would not draw the same random numbers.
    """
    if not launched():
        yield device
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        own = everywhere(lambda: _own_device(device))
        models = gathered_objects("cpu" if own.type == "cpu" else torch.cuda.get_device_name(own))
        if len(set(models)) > 1:
            raise BadInput(f"torchrun: all processes need one kind of device, not {', '.join(sorted(set(models)))}")
        yield own
    except FAILURES:
        # All processes are here. After any other exception they may not be, and leaving the group would wait for them.
        torch.distributed.destroy_process_group()
        raise
    torch.distributed.destroy_process_group()


def end(status: int) -> NoReturn:
    """End a process with this exit status.

    One of torchrun's does so at once, without finalising the interpreter: threads of gloo outlive their group where
    gradients were averaged, and one that then lets go of a tensor aborts the process (PyTorch's pull request 179291).
    """
    if launched():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _own_device(device: torch.device) -> torch.device:
    """Return the CPU, or the GPU that is this process's from now on."""
    if device.type != "cuda":
        return device
    local, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= found:
        raise BadInput(f"torchrun: more processes than CUDA devices on a machine; at most {found} there")
    own = torch.device("cuda", local)
    torch.cuda.set_device(own)
    return own


@contextmanager
def told_once() -> Iterator[None]:
    """End every process on a failure, told by one on each machine; so too when a process is lost, and on Ctrl-C.

    On the others BadInput, WorkFailed, OSError and KeyboardInterrupt become SystemExit with the command's status.
    """
    tells = not launched() or os.environ["LOCAL_RANK"] == "0"
    try:
        yield
    except (*FAILURES, KeyboardInterrupt) as error:
        if tells:
            raise
        status = 2 if isinstance(error, BadInput) else 130 if isinstance(error, KeyboardInterrupt) else 1
        raise SystemExit(status) from error
    except RuntimeError as error:
        if not launched() or not (isinstance(error, torch.distributed.DistError) or "gloo" in str(error)):
            raise
        if tells:
            raise WorkFailed("another process of this run ended; finished epochs are kept") from error
        raise SystemExit(1) from error


def gathered_objects(value: T) -> list[T]:
    """Return `value` of every process, by rank."""
    values: list[Any] = [value] * world().size
    if len(values) > 1:
        torch.distributed.all_gather_object(values, value)
    return values


def from_main(work: Callable[[], T]) -> T:
    """Run `work` on the main process alone. Every process returns its result, or raises its failure."""
    if world().size == 1:
        return work()
    box: list[Any] = [None, None]
    if world().main:
        try:
            box[0] = work()
        except FAILURES as error:
            box[1] = error
    torch.distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    if box[1] is not None:
        raise box[1]
    return cast(T, box[0])


def everywhere(work: Callable[[], T]) -> T:
    """Run `work` on this process. Where it fails on any, every process raises the first one's failure."""
    if world().size == 1:
        return work()
    result, failure = None, None
    try:
        result = work()
    except FAILURES as error:
        failure = error
    failed = torch.tensor(failure is not None, dtype=torch.int64)
    torch.distributed.all_reduce(failed, torch.distributed.ReduceOp.MAX)
    if failed:
        raise next(error for error in gathered_objects(failure) if error is not None)
    return cast(T, result)


@contextmanager
def held_by_main(lock: Callable[[], BaseFileLock]) -> Iterator[None]:
    """Make and hold the lock on the main process; the others wait for that."""
    held: list[BaseFileLock] = []

    def take() -> None:
        made = lock()
        made.acquire()
        held.append(made)

    from_main(take)
    try:
        yield
    finally:
        for made in held:
            made.release()
