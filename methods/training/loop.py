"""The one training loop. It knows stages, not methods: data on the device, no host synchronisation inside an epoch.

Every random choice of an epoch comes from a generator seeded by (seed, stage, epoch), so a run that was killed and
resumed at an epoch's end reaches the same weights as an undisturbed one (bit for bit on CPU). In several processes
(`methods.processes.parallel`) these choices are the same in each, and each computes its rows of every batch.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from methods.core.batch import Batch, ExpertOutput, NetworkSpec
from methods.core.batches import batch_sizes
from methods.core.method import Method
from methods.core.precision import Precision, arithmetic, whole_float32
from methods.core.recipe import Recipe
from methods.core.stage import Stage
from methods.pixels.augment import to_float
from methods.pixels.data import TrainingData
from methods.pixels.data import TrainingImages as TrainingImages
from methods.processes import distributed, parallel
from methods.training.checkpoint import load_tensors, save_tensors
from methods.training.update import Update, cuda_record, eager, recorded
from shifts.common.errors import WorkFailed
from shifts.common.files import digest

TRAIN_VERSION = 1
"""Raised whenever the same settings would train other weights: part of every checkpoint's key."""


EARLY = re.compile(r"(^|\.)(stem|shared\.0)\.")
"""Names of the parameters that `Stage.fine_tune` leaves as they are, in any network of experts."""


@dataclass(frozen=True)
class Trained:
    """A trained network (evaluation mode), seconds spent training it (over all sittings), mean loss per epoch."""

    network: nn.Module
    seconds: float
    losses: list[float]


def derived_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on all parts and on nothing else."""
    return int(digest(list(parts))[:16], 16) >> 1


def build_network(method: Method, spec: NetworkSpec, seed: int, *, training: bool = False) -> nn.Module:
    """Build the method's network (or training network) with the initial weights of `seed`.

    The caller's random state is left as it was (that of CUDA devices, from which nothing here draws, is not).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed("initial", seed))
        return method.training_network(spec) if training else method.network(spec)


def train(
    method: Method,
    recipe: Recipe,
    data: TrainingData,
    seed: int,
    *,
    resume: Path,
    key: str,
    progress: Callable[[str, int, int, float], None] = lambda stage, epoch, epochs, loss: None,
    accumulate: int = 1,
    sync_bn: bool = False,
    graphs: bool = False,
) -> Trained:
    """Train `method` through its stages; the state after every epoch is kept in the file `resume`.

    key: identifies the run; a resume file of another key is not used. progress is called after each epoch with
    (stage, epochs done, epochs, mean loss). Raises WorkFailed where a loss is NaN or infinite, naming method, stage,
    epoch and step; the resume file then still holds the last good epoch.
    accumulate: backward passes a step, each with its part of the batch: less memory, the same step for a loss that is
    a mean over samples and a network without BatchNorm. Random numbers that a step draws are the same in each.
    sync_bn: in several processes BatchNorm uses the statistics of all of them (CUDA only); alone it always does.
    graphs: record whole steps as CUDA graphs (one process on CUDA): the same arithmetic, launched at once.
    The main process's state is read and written, so a run may go on in another number of processes.
    """
    whole_float32()
    device = data.device
    counts = tuple(int(count) for count in data.counts)
    spec = NetworkSpec(recipe.backbone, counts, data.image_size, recipe.weights())
    network = build_network(method, spec, seed, training=True)
    if sync_bn and distributed.world().size > 1:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = distributed.from_main(lambda: _State.read(resume, key))
    if state is not None:
        network.load_state_dict(state.network)
    seconds, losses = (0.0, []) if state is None else (state.seconds, state.losses)
    for number, stage in enumerate(method.stages(recipe)):
        if state is not None and number < state.stage:
            continue
        for name, parameter in network.named_parameters():
            kept = stage.fine_tune and EARLY.search(name) is not None
            parameter.requires_grad_(stage.trainable(name) and not kept)
        _set_modes(network, stage)
        optimiser = _optimiser(network, stage, on_device=graphs)
        generator = torch.Generator(device)
        stepper = parallel.Stepper(network, stage.step)
        update = eager(stepper, optimiser, generator, recipe.precision, accumulate, stage.optimiser.clip)
        if graphs:
            update = recorded(update, stage.switches, cuda_record(generator))
        first = 0
        if state is not None and number == state.stage:
            first = state.epochs
            _load_momentum(network, optimiser, state.momentum)
        for epoch in range(first, stage.epochs):
            start = time.perf_counter()
            generator.manual_seed(derived_seed("epoch", seed, number, epoch))
            loss = _epoch(method, stage, network, optimiser, update, data, epoch, generator, recipe.precision)
            losses = [*losses, loss]
            seconds += time.perf_counter() - start
            now = _State(number, epoch + 1, network.state_dict(), _momentum(network, optimiser), losses, seconds)
            distributed.from_main(partial(now.write, resume, key))
            progress(stage.name, epoch + 1, stage.epochs, loss)
        state = None
        del update
    network = _without_sync(network, method, spec, seed)
    return Trained(method.trained_network(network).eval(), seconds, losses)


def epochs_done(stages: Sequence[Stage], resume: Path, key: str) -> int:
    """Count the epochs that a run's resume file holds, over all stages; 0 where there is none, or another run's."""
    state = _State.read(resume, key)
    return 0 if state is None else sum(stage.epochs for stage in stages[: state.stage]) + state.epochs


def _epoch(
    method: Method,
    stage: Stage,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    update: Update,
    data: TrainingData,
    epoch: int,
    generator: torch.Generator,
    precision: Precision,
) -> float:
    """Train one epoch in the orders of the stage's samplers. Return the mean loss of its steps, over all processes."""
    device = data.device
    orders = [sampler(data.labels, data.counts, generator) for sampler in stage.samplers]
    sizes = batch_sizes(len(data.labels), stage.batch_size)
    chunks = list(zip(*(order.split(sizes) for order in orders), strict=True))
    cache = _cache(stage, network, data, generator, precision) if stage.cached else None
    asked = [] if stage.cached else [rows for chosen in chunks for rows in chosen]
    pixels = data.augmented(asked, stage.augmentation, generator)
    losses = torch.zeros(len(chunks), device=device)
    count = distributed.world().size
    for step, chosen in enumerate(chunks):
        taken = epoch * len(chunks) + step
        if step == 0 or taken <= stage.warmup_steps:
            _set_rate(optimiser, stage.rate(epoch, taken))
        batches = [
            _batch(stage, data, rows, next(pixels), generator)
            if cache is None
            else _cached_batch(data, cache, rows, generator)
            for rows in chosen
        ]
        losses[step] = update(batches, epoch) / count
    values = parallel.summed(losses).double().cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(values))
    # The last step's update meets no loss, so what is to be kept is looked at itself.
    whole = torch.stack([tensor.isfinite().all() for tensor in network.state_dict().values()]).all()
    if len(bad) or parallel.summed((~whole).float()):
        step = int(bad[0]) if len(bad) else len(chunks) - 1
        found = f"loss is {values[step]}" if len(bad) else "weights are NaN or infinite"
        raise WorkFailed(
            f"{method.name}: {found} in stage {stage.name!r}, epoch {epoch + 1}, step {step + 1} of {len(chunks)}; the "
            "state after the last good epoch is kept (a lower lr may help)"
        )
    return float(values.mean())


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of each group, by its share; in place where it is a tensor that recorded steps read."""
    for group in optimiser.param_groups:
        own = rate * group["share"]
        group["lr"] = group["lr"].fill_(own) if isinstance(group["lr"], Tensor) else own


def _batch(
    stage: Stage,
    data: TrainingData,
    chosen: Int[Tensor, " batch"],
    pixels: UInt8[Tensor, "batch channels height width"],
    generator: torch.Generator,
) -> Batch:
    """Return the chosen images, augmented `pixels`, normalised and mixed where the stage says so."""
    images, target = to_float(pixels, data.mean, data.std), _target(data, chosen)
    population = len(data.labels)
    if stage.mixup is None:
        return Batch(images, target, data.counts, generator=generator, population=population)
    # Beta(a, a) as a ratio of two gammas: the share stays on the device
    shape = torch.full((2,), stage.mixup, device=images.device)
    gammas = torch._standard_gamma(shape, generator)
    share = gammas[0] / gammas.sum()
    partner = torch.randperm(len(chosen), generator=generator, device=images.device)
    mixed = share * images + (1 - share) * images[partner]
    return Batch(mixed, target, data.counts, target[partner], share, generator=generator, population=population)


def _target(data: TrainingData, chosen: Int[Tensor, " batch"]) -> Tensor:
    """Return class indices [batch] as they are, label sets [batch, C] as float32."""
    target = data.labels[chosen]
    return target if target.ndim == 1 else target.float()


def _set_modes(network: nn.Module, stage: Stage) -> None:
    """Set training mode, but for what the stage freezes."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        frozen = stage.freeze and parameters and not any(parameter.requires_grad for parameter in parameters)
        if frozen or (stage.fine_tune and isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)):
            module.eval()


def _without_sync(network: nn.Module, method: Method, spec: NetworkSpec, seed: int) -> nn.Module:
    """Return the network itself or, where its BatchNorm is synchronised, one of the same weights without that."""
    if not any(isinstance(module, nn.SyncBatchNorm) for module in network.modules()):
        return network
    plain = build_network(method, spec, seed, training=True)
    plain.load_state_dict(network.state_dict())
    device = next(network.parameters()).device
    return plain.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


@torch.no_grad()
def _cache(
    stage: Stage, network: nn.Module, data: TrainingData, generator: torch.Generator, precision: Precision
) -> ExpertOutput:
    """Return what the network makes of every training image under one random augmentation, float32 on the device.

    In several processes each makes all of it: the network is frozen, so nothing is exchanged.
    """
    device = data.device
    images = len(data.labels)
    chunks = torch.arange(images, device=device).split(stage.batch_size)
    whole: ExpertOutput | None = None
    for chunk, pixels in zip(chunks, data.augmented(chunks, stage.augmentation, generator), strict=True):
        with arithmetic(device, precision):
            output: ExpertOutput = network(to_float(pixels, data.mean, data.std))
        if whole is None:  # filled in place: on large data parts and whole would not fit together
            whole = ExpertOutput(*(part.new_empty(images, *part.shape[1:], dtype=torch.float32) for part in output))
        for kept, part in zip(whole, output, strict=True):
            kept[chunk] = part.float()
    assert whole is not None  # a training set has images
    return whole


def _cached_batch(data: TrainingData, cache: ExpertOutput, chosen: Tensor, generator: torch.Generator) -> Batch:
    output = ExpertOutput(cache.logits[chosen], cache.features[chosen])
    nothing = torch.empty(0, 3, *data.image_size, device=data.device)
    return Batch(
        nothing, _target(data, chosen), data.counts, output=output, generator=generator, population=len(data.labels)
    )


def _optimiser(network: nn.Module, stage: Stage, on_device: bool) -> torch.optim.SGD:
    """Return the stage's optimiser; on_device: learning rates are tensors beside the weights, for recorded steps."""
    settings = stage.optimiser
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trained, "share": 1.0}]
    if settings.trunk != 1:
        trunk = [
            module for module in network.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.SyncBatchNorm)
        ]
        slow = {id(parameter) for module in trunk for parameter in module.parameters()}
        groups = [
            {"params": [parameter for parameter in trained if (id(parameter) in slow) == of_trunk], "share": share}
            for of_trunk, share in ((False, 1.0), (True, settings.trunk))
        ]
    if on_device:
        for group in groups:
            group["lr"] = torch.tensor(settings.lr, device=next(network.parameters()).device)
    return torch.optim.SGD(
        groups,
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def _momentum(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the momentum buffers by parameter name."""
    return {
        name: optimiser.state[parameter]["momentum_buffer"]
        for name, parameter in network.named_parameters()
        if "momentum_buffer" in optimiser.state.get(parameter, {})
    }


def _load_momentum(network: nn.Module, optimiser: torch.optim.Optimizer, momentum: dict[str, Tensor]) -> None:
    for name, parameter in network.named_parameters():
        if name in momentum:
            optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum[name])


@dataclass(frozen=True)
class _State:
    """Where a run stands: stage, epochs done in it, weights, momentum, losses so far and seconds spent."""

    stage: int
    epochs: int
    network: dict[str, Tensor]
    momentum: dict[str, Tensor]
    losses: list[float]
    seconds: float

    def write(self, path: Path, key: str) -> None:
        tensors = {f"network.{name}": tensor for name, tensor in self.network.items()}
        tensors |= {f"momentum.{name}": tensor for name, tensor in self.momentum.items()}
        metadata: dict[str, Any] = {"key": key, "stage": self.stage, "epochs": self.epochs}
        save_tensors(path, tensors, metadata | {"losses": self.losses, "seconds": self.seconds})

    @classmethod
    def read(cls, path: Path, key: str) -> "_State | None":
        if not path.exists():
            return None
        tensors, metadata = load_tensors(path)
        if metadata.get("key") != key:
            return None

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        return cls(
            metadata["stage"],
            metadata["epochs"],
            part("network."),
            part("momentum."),
            metadata["losses"],
            metadata["seconds"],
        )
