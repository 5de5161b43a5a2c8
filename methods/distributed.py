"""One training run in several processes: `torchrun --nproc-per-node N -m methods.train ...`, on one machine or more.

Every process draws the same random numbers, from generators seeded alike: orders of samplers, geometry of the
augmentation, share and partners of mixup, Dirichlet preferences are shared, not per process. So every process holds
the whole (global) batch of the recipe, mixed already, and takes its own rows of it; streamed images are decoded once,
each by one process, and exchanged. The gradient is the mean over the global batch whatever the number of processes,
for a loss that is a mean over samples; another loss is computed by each process on its own rows and then averaged by
their number. BatchNorm sees a process's own rows (of `accumulate` steps: one's own), unless synchronised; its running
statistics are the main process's.

The main process (rank 0) alone reads and writes results; what it found or failed at is sent to all. Without torchrun
nothing of this is in use.
"""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar, cast

import torch
from filelock import BaseFileLock
from jaxtyping import Shaped
from torch import Tensor, nn

from methods.expert import Batch, ExpertOutput, Step
from shifts.errors import BadInput, WorkFailed

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


class Piece(NamedTuple):
    """Rows of a global batch that one process takes in one backward pass, and what their mean loss is multiplied by."""

    rows: slice
    weight: float


def launched() -> bool:
    """Whether torchrun (or what sets the same variables) started this process."""
    return all(name in os.environ for name in LAUNCHED)


def world() -> World:
    """The processes of the running group; a world of one outside `processes`."""
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
    if device.type == "cuda":
        local, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= found:
            raise BadInput(f"torchrun: {local + 1} processes on a machine with {found} CUDA devices; start {found}")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        models = gathered_objects("cpu" if device.type == "cpu" else torch.cuda.get_device_name(device))
        if len(set(models)) > 1:
            raise BadInput(f"torchrun: all processes need one kind of device, not {', '.join(sorted(set(models)))}")
        yield device
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def told_once() -> Iterator[None]:
    """Failures end every process, and only the main one tells; so does the loss of another process.

    On the others BadInput, WorkFailed and OSError become SystemExit with the command's status.
    """
    main = not launched() or os.environ["RANK"] == "0"
    try:
        yield
    except FAILURES as error:
        if main:
            raise
        raise SystemExit(2 if isinstance(error, BadInput) else 1) from error
    except RuntimeError as error:
        if not launched() or not (isinstance(error, torch.distributed.DistError) or "gloo" in str(error)):
            raise
        if main:
            raise WorkFailed("another process of this run ended; finished epochs are kept") from error
        raise SystemExit(1) from error


def gathered_objects(value: T) -> list[T]:
    """`value` of every process, by rank."""
    values: list[Any] = [value] * world().size
    if len(values) > 1:
        torch.distributed.all_gather_object(values, value)
    return values


def from_main(work: Callable[[], T]) -> T:
    """What `work` gives on the main process, which alone runs it, on every process; so is its failure raised."""
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
    """What `work` gives on this process; where it fails on any, every process raises the first one's failure."""
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
    """The main process makes the lock and holds it; the others wait for that."""
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


def split(size: int, parts: int) -> list[slice]:
    """`parts` slices that follow one another and cover `size` rows; the first are one longer where it is uneven."""
    ends = [0]
    for part in range(parts):
        ends.append(ends[-1] + size // parts + (part < size % parts))
    return [slice(first, end) for first, end in pairwise(ends)]


def pieces(size: int, accumulate: int = 1) -> list[Piece]:
    """This process's rows of a global batch of `size` images, in at most `accumulate` pieces, none of them empty.

    The mean over processes of the sum of weight * (mean over a piece) is the mean over the batch, uneven or not. A
    batch with fewer images than processes is taken whole by each of them.
    """
    rank, count = world().rank, world().size
    if size < count:
        return [Piece(slice(0, size), 1.0)]
    steps = min(accumulate, size // count)
    mine = split(size, count * steps)[rank * steps : (rank + 1) * steps]
    return [Piece(rows, (rows.stop - rows.start) * count / size) for rows in mine]


def own_rows(size: int) -> slice:
    """This process's rows of a global batch of `size` images."""
    return pieces(size)[0].rows


def part(batch: Batch, rows: slice) -> Batch:
    """These rows of a batch; counts, share of mixup and generator are the whole one's."""
    if rows == slice(0, len(batch.target)):
        return batch
    return replace(
        batch,
        images=batch.images[rows],
        target=batch.target[rows],
        partner=None if batch.partner is None else batch.partner[rows],
        output=None if batch.output is None else ExpertOutput(*(values[rows] for values in batch.output)),
    )


def gathered(mine: Shaped[Tensor, "own ..."], size: int) -> Shaped[Tensor, "size ..."]:
    """All `size` rows of a batch from each process's own (`own_rows`), in order."""
    count = world().size
    if count == 1 or size < count:
        return mine
    padded = mine.new_zeros(-(-size // count), *mine.shape[1:])
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in range(count)]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([rows[: own.stop - own.start] for rows, own in zip(parts, split(size, count), strict=True)])


def summed(values: Tensor) -> Tensor:
    """Sum over processes, the same on all of them."""
    if world().size > 1:
        torch.distributed.all_reduce(values)
    return values


class _Step(nn.Module):
    """A stage's step as the forward pass of a module that holds the network."""

    def __init__(self, network: nn.Module, step: Step) -> None:
        super().__init__()
        self.network = network
        self.step = step

    def forward(self, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
        return self.step(self.network, batches, epoch)


class Stepper:
    """A stage's step, with gradients averaged over processes by DistributedDataParallel.

    It wraps the step, not the network: a method's step calls the network as it likes (other attributes, several
    passes, only a part of it) and sees the network itself. Made after the stage has said what is trained. Weights and
    BatchNorm statistics become the main process's.
    """

    def __init__(self, network: nn.Module, step: Step) -> None:
        self._parallel: nn.parallel.DistributedDataParallel | None = None
        self._step: Callable[..., dict[str, Tensor]] = lambda batches, epoch: step(network, batches, epoch)
        if world().size > 1:
            gc.collect()  # an earlier stage's wrapper would go on averaging the same parameters
            # A loss may leave out what the stage trains; such parameters stay without a gradient, as in one process.
            self._parallel = nn.parallel.DistributedDataParallel(_Step(network, step), find_unused_parameters=True)
            self._step = self._parallel

    def __call__(self, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
        return self._step(batches, epoch)

    def averaged(self, now: bool) -> AbstractContextManager[None]:
        """Around forward and backward pass: whether gradients are averaged over processes, or kept to be added to."""
        return nullcontext() if now or self._parallel is None else self._parallel.no_sync()
