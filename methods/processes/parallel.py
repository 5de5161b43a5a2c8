"""How processes share a training run's work: rows of each batch, one gradient.

Every process draws the same random numbers, from generators seeded alike: orders of samplers, geometry of the
augmentation, share and partners of mixup, Dirichlet preferences are shared, not per process. So every process holds
the whole (global) batch of the recipe, mixed already, and takes its own rows of it; streamed images are decoded once,
each by one process, and exchanged. The gradient is the mean over the global batch whatever the number of processes,
for a loss that is a mean over samples; any other loss is computed by each process on its own rows, weighted by how
many they are, and averaged. BatchNorm sees the rows of one process and one backward pass, unless it is synchronised
(one backward pass of all processes); its running statistics are the main process's.

In one process, without accumulation, nothing of this changes a number.
"""

import gc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from methods.core.batch import Batch, ExpertOutput
from methods.core.batches import LEAST
from methods.core.stage import Step
from methods.processes import distributed


class Piece(NamedTuple):
    """Rows of a global batch that one process takes in one backward pass, and what their mean loss is multiplied by."""

    rows: slice
    weight: float


def split(size: int, parts: int) -> list[slice]:
    """Return `parts` slices that cover `size` rows one after the other; the first are one longer if uneven."""
    ends = [0]
    for part in range(parts):
        ends.append(ends[-1] + size // parts + (part < size % parts))
    return [slice(first, end) for first, end in pairwise(ends)]


def pieces(size: int, accumulate: int = 1) -> list[Piece]:
    """Return this process's rows of a global batch of `size` images, in at most `accumulate` pieces of two or more.

    The mean over processes of the sum of weight * (mean over a piece) is the mean over the batch, uneven or not. A
    batch with fewer images than two a process is taken whole by each of them.
    """
    rank, count = distributed.world().rank, distributed.world().size
    if size < LEAST * count:
        return [Piece(slice(0, size), 1.0)]
    steps = min(accumulate, size // (LEAST * count))
    mine = split(size, count * steps)[rank * steps : (rank + 1) * steps]
    return [Piece(rows, (rows.stop - rows.start) * count / size) for rows in mine]


def own_rows(size: int) -> slice:
    """Return this process's rows of a global batch of `size` images."""
    return pieces(size)[0].rows


def part(batch: Batch, rows: slice) -> Batch:
    """Return these rows of a batch; counts, share of mixup and generator are the whole one's."""
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
    """Return all `size` rows of a batch from each process's own (`own_rows`), in order."""
    count = distributed.world().size
    if count == 1 or size < LEAST * count:
        return mine
    padded = mine.new_zeros(-(-size // count), *mine.shape[1:])
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in range(count)]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([rows[: own.stop - own.start] for rows, own in zip(parts, split(size, count), strict=True)])


def summed(values: Tensor) -> Tensor:
    """Return the sum over processes, the same on all of them."""
    if distributed.world().size > 1:
        torch.distributed.all_reduce(values)
    return values


class _Step(nn.Module):
    """A stage's step as the forward pass of a module that holds the network."""

    def __init__(self, network: nn.Module, step: Step) -> None:
        super().__init__()
        self.network = network
        self.step = step
        # Used by no step: without one such, DistributedDataParallel advises against looking for them.
        self.unused = nn.Parameter(torch.zeros((), device=next(network.parameters()).device))

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
        if distributed.world().size > 1:
            gc.collect()  # an earlier stage's wrapper would go on averaging the same parameters
            # A loss may leave out what the stage trains; such parameters stay without a gradient, as in one process.
            self._parallel = nn.parallel.DistributedDataParallel(_Step(network, step), find_unused_parameters=True)
            self._step = self._parallel

    def __call__(self, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
        return self._step(batches, epoch)

    def averaged(self, now: bool) -> AbstractContextManager[None]:
        """Return a context for forward and backward pass that averages gradients over processes, or keeps them."""
        return nullcontext() if now or self._parallel is None else self._parallel.no_sync()
