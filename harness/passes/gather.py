"""The forward passes behind the evidence: clean pool, view pairs and source images, once per checkpoint."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from harness.evidence import files as evidence
from harness.evidence import tensors
from harness.evidence.arrays import EVIDENCE_VERSION, Evidence, PoolEvidence, Source
from harness.evidence.heads import STEPS, PreferenceHeads, agreement, lattice
from harness.passes.pools import Pools
from methods.core.batch import ExpertOutput
from methods.core.method import Method
from methods.core.precision import Precision, arithmetic
from methods.core.priors import target_prior
from methods.jobs.job import TrainingJob
from methods.networks.folding import fold_batchnorm
from methods.networks.heads import SCALE
from methods.networks.hypernetwork import PreferenceNetwork
from methods.networks.routing import GatedExperts
from methods.pixels.views import VIEWS_VERSION
from methods.training.loop import derived_seed
from shifts.common.errors import BadInput, WorkFailed
from shifts.common.files import digest

Batches = Iterator[Float[Tensor, "batch 3 height width"]]

Reading = Callable[[ExpertOutput], Tensor]
"""Reads one part of an output, [batch, ...]."""

HEADS_VERSION = 1
"""Raised whenever lattice, heads or agreement of a method with a preference would be others."""


def key(job: TrainingJob, checkpoint_sha256: str, views: int, precision: Precision = "fp32") -> str:
    """SHA-256 of everything that determines the evidence of a checkpoint."""
    return digest(
        {
            "evidence_version": EVIDENCE_VERSION,
            "views_version": VIEWS_VERSION,
            "checkpoint": checkpoint_sha256,
            "test": job.dataset.test.fingerprint,
            "source": job.source.pool.digest(job.source.indices.tolist()),
            "views": views,
            "precision": precision,
        }
        | ({"heads": HEADS_VERSION} if job.method.has_preference else {})
    )


def path(job: TrainingJob, results: Path, views: int, precision: Precision = "fp32") -> Path:
    """Where the evidence of a job's checkpoint is kept."""
    suffix = "" if precision == "fp32" else f"-{precision}"
    return results / "evidence" / f"{job.stem}-v{views}{suffix}.safetensors"


def gather(
    job: TrainingJob, checkpoint_sha256: str, results: Path, pools: Pools, views: int, precision: Precision = "fp32"
) -> PoolEvidence:
    """The evidence of a checkpoint: read if it is there and fits checkpoint and data, else computed and stored.

    precision: `bf16` runs convolutions and matrix products in bfloat16 under autocast; logits are stored as float32.
    Raises WorkFailed where logits are not finite or the checkpoint cannot be loaded.
    """
    where, wanted = path(job, results, views, precision), key(job, checkpoint_sha256, views, precision)
    where.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(where.parent / f".{where.stem}.lock"):
        found = tensors.metadata(where)
        if found is not None and found.get("key") == wanted:
            # What is there but broken is recomputed as if it were stale.
            with suppress(BadInput):
                return evidence.load(where)
        pool = _compute(job, results, pools, views, precision, wanted)
        evidence.save(where, pool)
        return pool


def _compute(
    job: TrainingJob, results: Path, pools: Pools, views: int, precision: Precision, wanted: str
) -> PoolEvidence:
    start = time.perf_counter()
    network = fold_batchnorm(job.network(results, pools.device), job.spec.image_size)
    test, labelled = job.dataset.test, job.source
    pool = pools.of(job, test, np.arange(len(test.labels)))
    source = pools.of(job, labelled.pool, labelled.indices)
    preference = {"features": read_features} if job.method.has_preference else {}
    gates = {"gate_logits": cast(GatedExperts, network).gate_logits} if job.method.has_gates else {}
    with progress_bar(job, (1 + 2 * views) * len(pool) + len(source)) as bar:

        def passed(batches: Batches, **parts: Reading) -> dict[str, Float[np.ndarray, "images ..."]]:
            return collected(forward(network, batches, precision), bar, logits=read_logits, **parts)

        clean = passed(pool.clean(), **gates, **preference)
        source_logits = passed(source.clean())["logits"]
        pairs = [[passed(pool.view(_view_seed(pair, view)), **preference) for view in (0, 1)] for pair in range(views)]
    paired = (
        {name: np.stack([[view[name] for view in pair] for pair in pairs]) for name in pairs[0][0]} if pairs else {}
    )
    _check_finite(job, *clean.values(), source_logits, *paired.values())
    return PoolEvidence(
        evidence=Evidence(
            logits=clean["logits"],
            features=clean.get("features"),
            gate_logits=clean.get("gate_logits"),
            views=paired.get("logits"),
            view_features=paired.get("features"),
            source=Source(source_logits, labelled.pool.labels[labelled.indices], labelled.seen),
            **(_preference_parts(job, network, paired.get("features")) if job.method.has_preference else {}),
        ),
        labels=test.labels,
        train_counts=job.training.counts,
        expert_priors=job.method.expert_priors(job.training.counts),
        class_names=tuple(test.class_names),
        metadata={
            "key": wanted,
            "source_sha256": labelled.indices_sha256,
            "seconds": f"{time.perf_counter() - start:.3f}",
        },
    )


def _view_seed(pair: int, view: int) -> int:
    return derived_seed("view", VIEWS_VERSION, pair, view)


def progress_bar(job: TrainingJob, images: int) -> "tqdm[NoReturn]":
    """A bar over so many forward passes of images, shown from two seconds on."""
    title = f"evidence {job.method_name} s{job.seed}"
    return tqdm(total=images, desc=title, unit="img", delay=2, leave=False, disable=None)


@torch.inference_mode()
def forward(network: nn.Module, batches: Batches, precision: Precision) -> Iterator[ExpertOutput]:
    """Yield what a network makes of each of the normalised `batches` under a precision, as float32."""
    for batch in batches:
        with arithmetic(batch.device, precision):
            output: ExpertOutput = network(batch)
        yield ExpertOutput(output.logits.float(), output.features.float())


@torch.inference_mode()
def collected(
    outputs: Iterator[ExpertOutput], bar: "tqdm[NoReturn] | None" = None, **parts: Reading
) -> dict[str, Float[np.ndarray, "images ..."]]:
    """Return what each of `parts` reads of the outputs, as one float32 array of all their images."""
    found: dict[str, list[Tensor]] = {name: [] for name in parts}
    for output in outputs:
        for name, read in parts.items():
            found[name].append(read(output).float())
        if bar is not None:
            bar.update(len(output.logits))
    return {name: torch.cat(tensors).cpu().numpy() for name, tensors in found.items()}


def read_logits(output: ExpertOutput) -> Tensor:
    """Return the logits of an output, [batch, experts, classes]."""
    return output.logits


def read_features(output: ExpertOutput) -> Tensor:
    """Return the features of an output, [batch, experts, dim]."""
    return output.features


def _preference_parts(
    job: TrainingJob, network: nn.Module, paired: Float[np.ndarray, "pairs 2 images experts dim"] | None
) -> dict[str, Any]:
    """Return head and agreement of a method with a preference; `paired` are the features of the views, if any."""
    head = preference_heads(job.method, job.training.counts, cast(PreferenceNetwork, network))
    if not np.isfinite(head.weights).all():
        raise WorkFailed(f"{job.method_name} seed {job.seed}: the hypernetwork makes NaN or infinite heads")
    return {"head": head, "agreement": None if paired is None else agreement(head, paired)}


@torch.inference_mode()
def preference_heads(
    method: Method, counts: Int[np.ndarray, " classes"], network: PreferenceNetwork, steps: int = STEPS
) -> PreferenceHeads:
    """The heads that a network makes at each point of the lattice, and the priors that these stand for."""
    made, experts = network.head, network.head.shape[0]
    points = lattice(experts, steps)
    device = made.free.device
    # The centre as the network has it: for `sum` heads that is zero, which is the same as equal shares but rounding.
    given = [made.centre(), *torch.tensor(points[1:], dtype=torch.float32, device=device)]
    weights = torch.stack([made.weights(point) for point in given]).float().cpu().numpy()
    priors = [target_prior(method.expert_priors(counts, point.tolist()), point) for point in points]
    return PreferenceHeads(points, weights, SCALE, np.stack(priors))


def _check_finite(job: TrainingJob, *arrays: Float[np.ndarray, "..."]) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise WorkFailed(f"{job.method_name} seed {job.seed}: the trained network gives NaN or infinite logits")
