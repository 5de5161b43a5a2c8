"""The parts that are timed: training, clean evidence, a view pair, learning weights, the naive way, a preference sweep.

Images are random pixels in CIFAR-100's shapes and numbers (10,847 for training at imbalance 100, 10,000 for testing):
no part's cost depends on what is in them.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import naive
from benchmarks.timing import Timing, interleaved
from harness.adapters.sade import Sade
from harness.evidence.arrays import Evidence, PoolEvidence
from harness.evidence.heads import PreferenceHeads, lattice
from harness.passes.pools import MemoryPool
from harness.studies.sweep.preference import family_of, sweep
from methods import papers
from methods.core.batch import Batch, ExpertOutput, NetworkSpec
from methods.core.precision import Precision, arithmetic
from methods.core.priors import target_prior
from methods.core.recipes import PUBLISHED
from methods.core.stage import Stage
from methods.networks.folding import fold_batchnorm
from methods.networks.heads import SCALE
from methods.networks.macs import count_macs
from methods.pixels.data import TrainingImages
from methods.training.loop import build_network, train
from shifts.images.entries import CIFAR_MEAN, CIFAR_STD
from shifts.labels.draw import draw
from shifts.labels.profiles import profile_counts
from shifts.labels.shift import class_counts, published_shifts

SIZE = (32, 32)
EPOCHS, PAIRS = 5, 3
STEPS, FEATURES = 20, 64
TRAINING_STEPS = 4
STEP = f"training, {TRAINING_STEPS} steps"


@dataclass(frozen=True)
class Line:
    """One timed variant. flops: floating-point operations of the work (0: not counted); images: how many it handled.

    scaled: what the time was multiplied with because only a share of the work was run; 1 = all of it.
    """

    part: str
    variant: str
    timing: Timing
    images: int
    flops: float
    precision: str
    scaled: float = 1.0

    def record(self) -> dict[str, Any]:
        """Return the line as JSON has it."""
        return asdict(self)


class Work:
    """Data and networks of one benchmark run; `images` test images, `method` three-expert ResNet-32."""

    def __init__(self, device: torch.device, images: int, rounds: int) -> None:
        self.device, self.rounds, self.images = device, rounds, images
        self.method = papers.get("sade")
        self.counts = np.array(profile_counts("exp", 500, 100, 100))
        self.spec = NetworkSpec("resnet32", tuple(int(count) for count in self.counts), SIZE)
        generator = torch.Generator().manual_seed(0)
        self.mean, self.std = (torch.tensor(values, device=device) for values in (CIFAR_MEAN, CIFAR_STD))
        self.test = torch.randint(256, (images, 3, *SIZE), generator=generator, dtype=torch.uint8).to(device)
        self.labels = np.arange(images) % 100
        n = int(self.counts.sum())
        self.training = TrainingImages(
            images=torch.randint(256, (n, 3, *SIZE), generator=generator, dtype=torch.uint8).to(device),
            labels=torch.repeat_interleave(torch.arange(100), torch.from_numpy(self.counts)).to(device),
            counts=torch.as_tensor(self.counts, dtype=torch.float32, device=device),
            mean=self.mean,
            std=self.std,
        )

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return count_macs(self.network(), SIZE)

    def network(self) -> nn.Module:
        """Return a fresh network in the default memory format, evaluation mode."""
        return build_network(self.method, self.spec, 0).eval().to(self.device)

    def reference(self) -> nn.Module:
        """Return the same network as research code has it: every ReLU writes a new map."""
        network = self.network()
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        return network

    def stage(self) -> Stage:
        """Return the published training stage."""
        return self.method.stages(PUBLISHED)[0]

    def ours(self) -> nn.Module:
        """Return the network as the harness runs it over a pool."""
        network = self.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return fold_batchnorm(network, SIZE)

    def pool(self) -> MemoryPool:
        """Return the test images; nothing is kept."""
        return MemoryPool(self.test, self.mean, self.std)

    def lines(
        self,
        part: str,
        variants: Mapping[str, tuple[str, Callable[[], object]]],
        images: int,
        flops: float,
    ) -> list[Line]:
        """Time variants {name: (precision, work)}."""
        timings = interleaved({name: work for name, (_, work) in variants.items()}, self.rounds, self.device)
        return [Line(part, name, timings[name], images, flops, precision) for name, (precision, _) in variants.items()]


def training_step(work: Work) -> list[Line]:
    """Time forward, backward and update of one batch of 128, four times.

    The convolutions of that are timed alone too, on maps of their own.
    The latter is what the step could cost at the least with the library's convolutions.
    """
    images = torch.randn(naive.BATCH, 3, *SIZE, device=work.device)
    target = work.training.labels[torch.randperm(len(work.training.labels), device=work.device)[: naive.BATCH]]

    def stepper(channels_last: bool, precision: Precision) -> Callable[[], None]:
        network, stage = (work.network() if channels_last else work.reference()).train(), work.stage()
        network = network.to(memory_format=torch.channels_last) if channels_last else network  # type: ignore[call-overload]
        inputs = images.contiguous(memory_format=torch.channels_last) if channels_last else images
        batch = Batch(inputs, target, work.training.counts)
        optimiser = torch.optim.SGD(
            network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=channels_last
        )

        def run() -> None:
            for _ in range(TRAINING_STEPS):
                optimiser.zero_grad(set_to_none=True)
                with arithmetic(work.device, precision):
                    loss = stage.step(network, [batch], 0)["loss"]
                loss.backward()
                optimiser.step()

        return run

    variants = {
        "reference": ("fp32", stepper(False, "fp32")),
        "fp32": ("fp32", stepper(True, "fp32")),
        "bf16": ("bf16", stepper(True, "bf16")),
    }
    images_run = naive.BATCH * TRAINING_STEPS
    lines = work.lines(STEP, variants, images_run, 6.0 * work.macs * images_run)
    alone = {precision: (precision, _convolutions(work, precision)) for precision in ("fp32", "bf16")}
    return lines + work.lines("of that, convolutions", alone, images_run, 6.0 * work.macs * images_run)


def _convolutions(work: Work, precision: Precision) -> Callable[[], None]:
    """Return what runs every convolution of the network, one after the other, as often as `training_step`.

    It runs them forward and backward.
    """
    kind = torch.float32 if precision == "fp32" else torch.bfloat16
    network = work.network()
    layers: list[tuple[nn.Conv2d, Tensor, Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        x, gradient = (
            torch.randn_like(tensor, dtype=kind, memory_format=torch.channels_last) for tensor in (*inputs, output)
        )
        layers.append((module, x.requires_grad_(module.in_channels > 3), gradient))

    hooks = [module.register_forward_hook(keep) for module in network.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        network(torch.randn(naive.BATCH, 3, *SIZE, device=work.device))
    for hook in hooks:
        hook.remove()
    network.to(kind).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run() -> None:
        for _ in range(TRAINING_STEPS):
            for convolution, x, gradient in layers:
                wanted = [convolution.weight, x] if x.requires_grad else [convolution.weight]
                torch.autograd.grad(convolution(x), wanted, gradient)

    return run


def training_epoch(work: Work) -> list[Line]:
    """Time one epoch of the long-tailed set, with augmentation, without validation."""
    host = work.training.images.permute(0, 2, 3, 1).cpu().numpy()

    def reference() -> None:
        given = work.training
        naive.epoch(work.reference(), work.stage(), host, given.labels, given.counts, work.mean, work.std)

    def ours(precision: Precision) -> Callable[[], None]:
        recipe = replace(PUBLISHED, name="benchmark", epochs=1, warmup=0, milestones=(1, 1), precision=precision)

        def run() -> None:
            with tempfile.TemporaryDirectory() as folder:
                train(work.method, recipe, work.training, 0, resume=Path(folder) / "state", key="benchmark")

        return run

    images = len(host)
    variants = {"reference": ("fp32", reference), "fp32": ("fp32", ours("fp32")), "bf16": ("bf16", ours("bf16"))}
    return work.lines("training, 1 epoch", variants, images, 6.0 * work.macs * images)


def _forward(network: nn.Module, batches: Iterator[Tensor], precision: Precision) -> list[Tensor]:
    device = next(network.parameters()).device
    with torch.inference_mode(), arithmetic(device, precision):
        outputs: list[ExpertOutput] = [network(batch) for batch in batches]
    return [output.logits for output in outputs]


def clean_evidence(work: Work) -> list[Line]:
    """Time the logits of all clean test images; the reference loads them one by one and counts what is right."""
    plain, folded, pool = work.reference(), work.ours(), work.pool()
    host = work.test.permute(0, 2, 3, 1).cpu().numpy()

    def forward() -> None:
        _forward(plain, (batch.contiguous() for batch in pool.clean()), "fp32")

    variants: Mapping[str, tuple[str, Callable[[], object]]] = {
        "reference": ("fp32", lambda: naive.accuracy(plain, host, work.labels, work.mean, work.std)),
        "its passes": ("fp32", forward),
        "fp32": ("fp32", lambda: _forward(folded, pool.clean(), "fp32")),
        "bf16": ("bf16", lambda: _forward(folded, pool.clean(), "bf16")),
    }
    return work.lines("clean evidence", variants, work.images, 2.0 * work.macs * work.images)


def view_pair(work: Work) -> list[Line]:
    """Time two random views of all test images, made and run through the network."""
    folded = work.ours()

    def run(precision: Precision) -> None:
        for view in range(2):
            _forward(folded, work.pool().view(view), precision)

    def make() -> None:
        for view in range(2):
            for _ in work.pool().view(view):
                pass

    images = 2 * work.images
    variants: Mapping[str, tuple[str, Callable[[], object]]] = {
        "fp32": ("fp32", lambda: run("fp32")),
        "bf16": ("bf16", lambda: run("bf16")),
    }
    lines = work.lines("one view pair", variants, images, 2.0 * work.macs * images)
    return lines + work.lines("of that, making views", {"fp32": ("fp32", make)}, images, 0.0)


def learning(work: Work) -> list[Line]:
    """Time the learning of SADE's weights for all eleven published shifts from stored logits of three view pairs."""
    rng = np.random.default_rng(0)
    shape = (work.images, 3, 100)
    evidence = Evidence(
        logits=rng.standard_normal(shape, dtype=np.float32) * 5,
        views=rng.standard_normal((PAIRS, 2, *shape), dtype=np.float32) * 5,
    )
    draws = [rng.permutation(drawn) for drawn in _drawn(work)]
    priors = work.method.expert_priors(work.counts)

    def run() -> None:
        for seed, indices in enumerate(draws):
            Sade().fit(evidence.take(indices, Sade.reads), work.counts, priors, seed)

    return work.lines("learning, 11 shifts", {"fp32": ("fp32", run)}, EPOCHS * sum(map(len, draws)), 0.0)


def _drawn(work: Work) -> list[np.ndarray]:
    """Return the indices of the eleven published shifts into the test images."""
    pool = np.bincount(work.labels, minlength=100)
    rank = np.arange(100)
    names = [str(number) for number in rank]
    return [
        draw(work.labels, class_counts(shift, pool, rank, names), str(shift.rule), 0) for shift in published_shifts()
    ]


def preference_sweep(work: Work) -> list[Line]:
    """Time 231 preferences on all eleven published shifts from stored features of clean images and one view pair."""
    rng = np.random.default_rng(0)
    priors = work.method.expert_priors(work.counts)
    points = lattice(3, STEPS)
    heads = PreferenceHeads(
        points,
        rng.standard_normal((len(points), 3, FEATURES, 100), dtype=np.float32),
        SCALE,
        np.stack([target_prior(priors, point) for point in points]),
    )
    features = rng.standard_normal((work.images, 3, FEATURES), dtype=np.float32)
    views = rng.standard_normal((1, 2, work.images, 3, FEATURES), dtype=np.float32)
    evidence = Evidence(heads.logits(features, 0), features=features, view_features=views, head=heads)
    names = tuple(map(str, range(100)))
    pool = PoolEvidence(evidence, work.labels, work.counts, priors, names, {})
    draws, kinds = _drawn(work), [shift.kind for shift in published_shifts()]

    def run() -> None:
        sweep(pool, family_of(pool, STEPS), draws, kinds)

    return work.lines("preferences, 231 x 11", {"fp32": ("fp32", run)}, work.images, 0.0)


def naive_procedure(work: Work, steps: int | None) -> list[Line]:
    """Time the same as clean evidence, view pairs and learning, with the network re-run for each shift and epoch.

    steps: batches of one epoch that are run and scaled up to all of five; None = every one.
    """
    network, drawn = work.reference(), np.concatenate(_drawn(work))
    run, epochs = (len(drawn), EPOCHS) if steps is None else (min(steps * naive.BATCH, len(drawn)), 1)
    chosen = work.test[torch.from_numpy(drawn[:run]).to(work.device)]

    def adapt() -> None:
        for _ in range(epochs):
            naive.learn_weights(network, chosen, work.mean, work.std, 3)

    def evaluate() -> None:
        batches = MemoryPool(chosen, work.mean, work.std).clean()
        _forward(network, (batch.contiguous() for batch in batches), "fp32")

    timings = interleaved({"adapt": adapt, "evaluate": evaluate}, work.rounds, work.device, warmup=steps is not None)
    share, forward = run / len(drawn), 2.0 * work.macs * run
    # Adapting is two forward passes an image, and two backward ones of twice their cost.
    return [
        Line(
            "naive, adapting",
            "reference",
            timings["adapt"],
            run * epochs,
            6 * forward * epochs,
            "fp32",
            EPOCHS / (epochs * share),
        ),
        Line("naive, evaluating", "reference", timings["evaluate"], run, forward, "fp32", 1 / share),
    ]


def commands(work: Work) -> list[Line]:
    """Time what a user waits for before anything is done."""

    def call(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run(
            [sys.executable, "-m", "harness.run", *arguments], check=True, capture_output=True
        )

    variants: Mapping[str, tuple[str, Callable[[], object]]] = {
        "--help": ("-", call("--help")),
        "--list": ("-", call("--list")),
    }
    return work.lines("command line", variants, 0, 0.0)
