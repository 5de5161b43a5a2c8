"""One training step as a whole, and its recording: gradients to zero, forward, loss, backward, optimiser."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from methods.core.batch import Batch, ExpertOutput
from methods.core.precision import Precision, arithmetic
from methods.processes import parallel

Update = Callable[[Sequence[Batch], int], Float[Tensor, ""]]
"""update(batches, epoch from 0) -> the step's detached loss; weights and momentum are changed."""
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""record(work) -> (replay, result): `replay` does the work again on the same memory and leaves its result in `result`.

Recording itself does not do the work.
"""
WARM_UP = 3
"""Steps that are run as they are before one is recorded: libraries choose algorithms and allocate in them."""


def eager(
    stepper: parallel.Stepper,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    precision: Precision,
    accumulate: int,
    clip: float = 0.0,
) -> Update:
    """Return steps run operation by operation, in `accumulate` pieces a batch that draw the same random numbers.

    clip: largest Euclidean norm of a step's gradient, over all parameters; 0 = no limit.
    """

    def update(batches: Sequence[Batch], epoch: int) -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=batches[0].target.device)
        pieces = parallel.pieces(len(batches[0].target), accumulate)
        draws = generator.get_state() if len(pieces) > 1 else None
        for piece in pieces:
            if draws is not None:
                generator.set_state(draws)
            with stepper.averaged(now=piece is pieces[-1]):
                with arithmetic(total.device, precision):
                    terms = stepper([parallel.part(batch, piece.rows) for batch in batches], epoch)
                loss = terms["loss"] if piece.weight == 1 else piece.weight * terms["loss"]
                loss.backward()
            total += loss.detach()
        if clip:
            trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(trained, clip)
        optimiser.step()
        return total

    return update


def recorded(update: Update, switches: Sequence[int], record: Record) -> Update:
    """Return the same steps, each form of batch recorded once and replayed from then on.

    switches: epochs from which the step does something else, so that it is recorded again. The loss that is returned
    is overwritten by the next step. A learning rate must be a tensor to be seen by a recording on CUDA.
    """
    seen: Counter[tuple[object, ...]] = Counter()
    recordings: dict[tuple[object, ...], _Recording] = {}

    def step(batches: Sequence[Batch], epoch: int) -> Tensor:
        phase = sum(epoch >= switch for switch in switches)
        key = (phase, *(tensor.shape for tensor in _tensors(batches)))
        if seen[key] < WARM_UP:
            seen[key] += 1
            return update(batches, epoch)
        if key not in recordings:
            for old in [other for other in recordings if other[0] != phase]:
                del recordings[old]  # each holds the memory of a whole step
            kept = [_copied(batch) for batch in batches]
            recordings[key] = _Recording(kept, *record(lambda: update(kept, epoch)))
        return recordings[key](batches)

    return step


def cuda_record(generator: torch.Generator) -> Record:
    """Return a recorder by CUDA graphs; steps may draw from `generator`, which is re-seeded between replays."""

    def record(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        # Another thread may pin memory meanwhile, as that of a data loader does.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = work()
        return graph.replay, result

    return record


@dataclass(frozen=True)
class _Recording:
    batches: list[Batch]
    replay: Callable[[], None]
    loss: Tensor

    def __call__(self, batches: Sequence[Batch]) -> Tensor:
        for mine, given in zip(_tensors(self.batches), _tensors(batches), strict=True):
            mine.copy_(given)
        self.replay()
        return self.loss


def _tensors(batches: Sequence[Batch]) -> Iterator[Tensor]:
    """Yield the tensors that differ from step to step."""
    for batch in batches:
        parts = (batch.images, batch.target, batch.partner, batch.share, *(batch.output or ()))
        yield from (part for part in parts if part is not None)


def _copied(batch: Batch) -> Batch:
    return replace(
        batch,
        images=batch.images.clone(),
        target=batch.target.clone(),
        partner=None if batch.partner is None else batch.partner.clone(),
        share=None if batch.share is None else batch.share.clone(),
        output=None if batch.output is None else ExpertOutput(*(part.clone() for part in batch.output)),
    )
