"""LSC: a small network that reads the test prior off the mean of the experts' largest logits.

Source: Wei et al., "Learning Label Shift Correction for Test-Agnostic Long-Tailed Recognition", ICML 2024, with the
constants of its released code.
Equation: an image's input is its logits of E experts, of each expert's the k largest kept and the others set to 0; a
set's input is the mean over its images, [E C]. Training sets are drawn from the source with replacement, n_c =
int(n_max f^(-r/(C - 1))) images of the class with rank r for f = 1.0, 1.1, ..., 99.9, and as many in the reverse order;
an expert's k is the least with which over .8 of the source images have their label among the k largest. The network is
EC -> 3C -> C with ReLU and softmax, trained by Adam (1e-3) for 100 epochs of batches of 1,024 on KL(realised shares ||
answer). Of the test images inputs are made with k = 10, 20, ..., 100 and 4; q is the mean answer. `gate=released`:
head, med and tail are the mean q of the first 36, next 34 and last 30 % of the ranks. Where head > 1.5 tail and head >
med, q is the answer to the mean of the two inputs with the largest share of their sum in the head; where tail > 1.5
head and tail > med, that to the input with the largest share in the tail; else nothing is corrected. `gate=none`: q as
it is.
Prediction: mean logits + (log q) / `temper`, 3 as released or 1; logarithms clipped at 1e-12. Deviation: a logit more
than 100 below the highest of its expert counts as that. What equals the k-th largest is kept.
Failures: the mask makes an answer depend on where zero is among the logits, which softmax does not tell. It has seen
priors of one family only, so a set without an order gets one of that family or, by the gate, nothing. The network is
asked with other k than it has learned with: SADE on CIFAR100-LT, TV .05 of its answer at k = 10 on a forward set, .29
of the mean answer on the uniform one, where the gate then corrects for a forward set.

Access: labelled source images beyond the training set, as `em_bcts`. The network is trained once for a source.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from harness.adapters.parts.check import check_evidence
from harness.adapters.parts.contract import Adapter, Counts, Prior, WeightedExperts
from harness.adapters.parts.descent import Adam
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence, Source
from harness.evidence.check import check_finite
from methods.core.priors import LOG_FLOOR, ExpertPriors, normalise
from shifts.common.blocks import row_blocks
from shifts.labels.profiles import class_rank

Gate = Literal["released", "none"]

KEPT = (*range(10, 101, 10), 4)
RATIOS = np.arange(10, 1000) / 10
ENOUGH = 0.8
EPOCHS, BATCH, RATE = 100, 1024, 1e-3
HEAD, MEDIUM = 0.36, 0.70
MARGIN = 1.5
_FARTHEST = 100.0

Experts = Float[np.ndarray, "images experts classes"]

Inputs = Float[np.ndarray, "sets joint"]
"""A set of images in a row: experts side by side, joint = experts * classes."""


@dataclass(frozen=True)
class Lsc(Adapter):
    """Mean logits plus a tempered prior that a network answers with."""

    name: ClassVar[str] = "lsc"
    access: ClassVar[Access] = Access("estimated", "source", "transductive")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    gate: Gate = "released"
    temper: float = 3.0

    def __post_init__(self) -> None:
        if self.gate not in ("released", "none"):
            raise ValueError(f"gate must be released or none, not {self.gate!r}")
        if self.temper <= 0:
            raise ValueError(f"temper must be above zero, not {self.temper}")

    def fit(self, evidence: Evidence, counts: Counts, expert_priors: ExpertPriors, seed: int) -> WeightedExperts:
        """Estimate the prior of the images in `evidence`; the network is the same for every `seed`.

        Raises ValueError where `missing` names a reason and for logits that are not finite.
        """
        _, experts, _ = check_evidence(self, evidence, expert_priors)
        assert evidence.source is not None  # `missing` refused it
        rank = class_rank(counts, by_index=False)
        network = trained(evidence.source, tuple(rank.tolist()))
        inputs = np.stack([mean_of_largest(evidence.logits, kept) for kept in KEPT])
        mean = network.answers(inputs).mean(axis=0)
        used = gated(network, inputs, mean, np.argsort(rank)) if self.gate == "released" else mean
        bias = None if used is None else np.log(np.maximum(used, LOG_FLOOR)) / self.temper
        prior = normalise(mean if used is None else used)
        return WeightedExperts(np.full(experts, 1 / experts), bias=bias, prior=prior)


def gated(network: "Network", inputs: Inputs, mean: Prior, order: Int[np.ndarray, " classes"]) -> Prior | None:
    """Return q that is used in the place of the mean answer, or None; order: classes from head to tail."""
    parts = np.split(order, [round(share * len(order)) for share in (HEAD, MEDIUM)])
    head, medium, tail = (mean[part].mean() if len(part) else 0.0 for part in parts)
    sums = inputs.reshape(len(inputs), -1, len(order)).sum(axis=1)
    whole = sums.sum(axis=1)
    for much, little, part, several in ((head, tail, parts[0], 2), (tail, head, parts[2], 1)):
        if much > MARGIN * little and much > medium:
            shares = sums[:, part].sum(axis=1) / np.where(whole == 0, 1.0, whole)
            most = np.argsort(shares, kind="stable")[-several:]
            return network.answers(inputs[most].mean(axis=0, keepdims=True))[0]
    return None


def mean_of_largest(logits: Experts, kept: int) -> Float[np.ndarray, " joint"]:
    """Return the mean over images of logits with those of each expert below its `kept` largest set to 0."""
    images, experts, classes = logits.shape
    total = np.zeros((experts, classes))
    for rows in row_blocks(images, experts * classes):
        values = bounded(logits[rows])
        total += np.where(largest(values, kept), values, 0).sum(axis=0, dtype=np.float64)
    return (total / images).reshape(-1)


def bounded(logits: Experts) -> Experts:
    """Return logits, none more than 100 below the highest of its expert; float32."""
    return np.maximum(logits, logits.max(axis=2, keepdims=True) - np.float32(_FARTHEST))


def largest(values: Experts, kept: int) -> Bool[np.ndarray, "images experts classes"]:
    """Return where values are among the `kept` largest of their expert."""
    classes = values.shape[2]
    if kept >= classes:
        return np.ones(values.shape, dtype=bool)
    least = np.partition(values, classes - kept, axis=2)[..., classes - kept]
    return np.asarray(values >= least[..., None])


def enough(values: Experts, labels: Int[np.ndarray, " images"]) -> list[int]:
    """Return each expert's least k with over .8 of the labels among its k largest."""
    own = values[np.arange(len(labels)), :, labels]
    place = (values > own[..., None]).sum(axis=2)
    reached = [np.cumsum(np.bincount(places, minlength=values.shape[2])) / len(labels) for places in place.T]
    return [int(np.argmax(shares > ENOUGH)) + 1 for shares in reached]


def training_sets(
    source: Source, rank: Int[np.ndarray, " classes"], generator: np.random.Generator
) -> tuple[Inputs, Float[np.ndarray, "sets classes"]]:
    """Return inputs and realised class shares of the sets that a network learns from, float32."""
    values, classes = bounded(source.logits), len(rank)
    kept = enough(values, source.labels)
    experts = np.split(values, values.shape[1], axis=1)
    masked = np.concatenate([np.where(largest(one, k), one, 0) for one, k in zip(experts, kept, strict=True)], axis=1)
    masked = masked.reshape(len(values), -1)
    size = np.bincount(source.labels, minlength=classes)
    members = np.argsort(source.labels, kind="stable")
    starts = np.concatenate([[0], size.cumsum()[:-1]])
    place = rank / (classes - 1)
    exponents = np.stack([-place, place - 1])  # forward and backward in turn
    wanted = (size.max() * RATIOS[:, None, None] ** exponents).astype(np.int64).reshape(-1, classes)
    sets = np.repeat(np.arange(len(wanted)), wanted.sum(axis=1))
    drawn = np.repeat(np.tile(np.arange(classes), len(wanted)), wanted.reshape(-1))
    images = members[starts[drawn] + (generator.random(len(drawn)) * size[drawn]).astype(np.int64)]
    times = np.bincount(sets * len(values) + images, minlength=len(wanted) * len(values)).reshape(len(wanted), -1)
    total = wanted.sum(axis=1, keepdims=True)
    return times.astype(np.float32) @ masked / total.astype(np.float32), (wanted / total).astype(np.float32)


@lru_cache(maxsize=2)
def trained(source: Source, rank: tuple[int, ...]) -> "Network":
    """Train the network of a source; kept for as long as the same source is used.

    Raises ValueError for source logits that are not finite, or so large that training does not stay so.
    """
    check_finite(source.logits, "source logits", image_axis=0)
    generator = np.random.default_rng(0)
    inputs, shares = training_sets(source, np.array(rank), generator)
    network = Network.random(inputs.shape[1], 3 * len(rank), len(rank), generator)
    with np.errstate(over="ignore", invalid="ignore"):
        network.learn(inputs, shares)
    if not all(np.isfinite(layer).all() for layer in network.layers):
        raise ValueError("source logits are too large to train a network on")
    return network


@dataclass
class Network:
    """Two layers with ReLU between them and softmax after; `layers`: weight, bias, weight, bias; float32."""

    layers: list[Float[np.ndarray, "..."]]

    @classmethod
    def random(cls, inputs: int, hidden: int, classes: int, generator: np.random.Generator) -> "Network":
        """Make one with weights and biases even within 1 / sqrt(what comes in), as PyTorch's linear layers have."""
        made: list[np.ndarray] = []
        for size, out in ((inputs, hidden), (hidden, classes)):
            bound = size**-0.5
            made += [generator.uniform(-bound, bound, shape).astype(np.float32) for shape in ((size, out), (out,))]
        return cls(made)

    def answers(self, inputs: Inputs) -> Float[np.ndarray, "sets classes"]:
        """Return the priors that it answers with; float64, each sums to one."""
        return self._forward(inputs)[1].astype(np.float64)

    def learn(self, inputs: Inputs, shares: Float[np.ndarray, "sets classes"]) -> None:
        """Train with Adam on KL(shares || answer)."""
        optimiser = Adam(self.layers, RATE)
        for rows in _batches(len(inputs)):
            optimiser.step(self.slopes(inputs[rows], shares[rows]))

    def slopes(self, inputs: Inputs, shares: Float[np.ndarray, "sets classes"]) -> list[Float[np.ndarray, "..."]]:
        """Return the gradient of the mean KL by each of `layers`."""
        hidden, answers = self._forward(inputs)
        behind = (answers - shares) / len(inputs)
        inside = (behind @ self.layers[2].T) * (hidden > 0)
        return [inputs.T @ inside, inside.sum(axis=0), hidden.T @ behind, behind.sum(axis=0)]

    def _forward(self, inputs: Inputs) -> tuple[Float[np.ndarray, "sets hidden"], Float[np.ndarray, "sets classes"]]:
        into, before, out, after = self.layers
        hidden = np.maximum(inputs.astype(np.float32) @ into + before, 0)
        scores = hidden @ out + after
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return hidden, powers / powers.sum(axis=1, keepdims=True)


def _batches(sets: int) -> Iterator[slice]:
    """Yield those of all epochs; sets stay in their order, as released."""
    for _ in range(EPOCHS):
        yield from (slice(start, start + BATCH) for start in range(0, sets, BATCH))
