"""The forward passes behind the evidence: clean pool, view pairs and source images, once per checkpoint."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
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
from harness.evidence.heads import STEPS, Classifiers, PreferenceHeads, agreement, lattice
from harness.passes.layers import classifiers, last_layers
from harness.passes.pools import Pool, Pools
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
from shifts.images.imageset import ImageSet

Batches = Iterator[Float[Tensor, "batch 3 height width"]]

Reading = Callable[[ExpertOutput], Tensor]
"""Reads one part of an output, [batch, ...]."""

FEATURES_VERSION = 1
"""Raised whenever features or classifiers that are asked for would be others."""

HALF = ("features",)
"""What is stored as float16 where features are asked for."""

HEADS_VERSION = 1
"""Raised whenever lattice, heads or agreement of a method with a preference would be others."""


def key(
    job: TrainingJob, checkpoint_sha256: str, views: int, precision: Precision = "fp32", *, features: bool = False
) -> str:
    """Return the SHA-256 of everything that determines the evidence of a checkpoint."""
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
        | ({"features": FEATURES_VERSION} if features else {})
    )


def path(job: TrainingJob, results: Path, views: int, precision: Precision = "fp32", *, features: bool = False) -> Path:
    """Return the path where the evidence of a job's checkpoint is kept."""
    suffix = ("" if precision == "fp32" else f"-{precision}") + ("-features" if features else "")
    return results / "evidence" / f"{job.stem}-v{views}{suffix}.safetensors"


def gather(
    job: TrainingJob,
    checkpoint_sha256: str,
    results: Path,
    pools: Pools,
    views: int,
    precision: Precision = "fp32",
    *,
    features: bool = False,
) -> PoolEvidence:
    """Return the evidence of a checkpoint: read if it is there and fits checkpoint and data, else computed and stored.

    precision: `bf16` runs convolutions and matrix products in bfloat16 under autocast; logits are stored as float32.
    features: store features (as float16) and classifiers too, whatever the method.
    Raises WorkFailed where logits are not finite or the checkpoint cannot be loaded.
    """
    where = path(job, results, views, precision, features=features)
    wanted = key(job, checkpoint_sha256, views, precision, features=features)
    where.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(where.parent / f".{where.stem}.lock"):
        found = tensors.metadata(where)
        if found is not None and found.get("key") == wanted:
            # What is there but broken is recomputed as if it were stale.
            with suppress(BadInput):
                return evidence.load(where)
        start = time.perf_counter()
        network = job.network(results, pools.device)
        made = evidence_of(job, network, pools, job.dataset.test, views, precision, features=features)
        about = {
            "key": wanted,
            "model": checkpoint_sha256,
            "source_sha256": job.source.indices_sha256,
            "seconds": f"{time.perf_counter() - start:.3f}",
        }
        pool = labelled(job, made, about)
        evidence.save(where, pool, half=HALF if features and not job.method.has_preference else ())
        return pool


def labelled(job: TrainingJob, made: Evidence, metadata: dict[str, str]) -> PoolEvidence:
    """Return evidence of a job's test images with their labels and what the job says of training."""
    counts, test = job.training.counts, job.dataset.test
    return PoolEvidence(made, test.labels, counts, job.method.expert_priors(counts), tuple(test.class_names), metadata)


def evidence_of(
    job: TrainingJob,
    network: nn.Module,
    pools: Pools,
    test: ImageSet,
    views: int,
    precision: Precision = "fp32",
    *,
    features: bool = False,
) -> Evidence:
    """Pass test images and the job's source images through its network, in evaluation mode and not used afterwards.

    features: with features (rounded to float16) and classifiers, whatever the method. Raises WorkFailed for logits that
    are not finite.
    """
    network = fold_batchnorm(network, job.spec.image_size)
    labelled = job.source
    pool = pools.of(job, test, np.arange(len(test.labels)))
    source = pools.of(job, labelled.pool, labelled.indices)
    preference = {"features": read_features} if job.method.has_preference else {}
    once = preference | ({"features": read_features} if features else {})
    if job.method.has_gates:
        once |= {"gate_logits": cast(GatedExperts, network).gate_logits}
    with progress_bar(job, (1 + 2 * views) * len(pool) + len(source)) as bar:

        def passed(batches: Batches, **parts: Reading) -> dict[str, Float[np.ndarray, "images ..."]]:
            return collected(forward(network, batches, precision), bar, logits=read_logits, **parts)

        clean = passed(pool.clean(), **once)
        source_logits = passed(source.clean())["logits"]
        pairs = [[passed(pool.view(_view_seed(pair, view)), **preference) for view in (0, 1)] for pair in range(views)]
    paired = (
        {name: np.stack([[view[name] for view in pair] for pair in pairs]) for name in pairs[0][0]} if pairs else {}
    )
    if "features" in once and not preference:
        with np.errstate(over="ignore"):
            clean["features"] = clean["features"].astype(np.float16).astype(np.float32)
    _check_finite(job, *clean.values(), source_logits, *paired.values())
    made = Evidence(
        logits=clean["logits"],
        features=clean.get("features"),
        gate_logits=clean.get("gate_logits"),
        views=paired.get("logits"),
        view_features=paired.get("features"),
        source=Source(source_logits, labelled.pool.labels[labelled.indices], labelled.seen),
        **(_preference_parts(job, network, paired.get("features")) if preference else {}),
    )
    return replace(made, classifiers=_classifiers(made, network, pool)) if features else made


def _classifiers(made: Evidence, network: nn.Module, pool: Pool) -> Classifiers | None:
    """Return what turns features into logits (of a preference at its centre), None where no last layers do."""
    if made.head is not None:
        return Classifiers(made.head.weights[0], scale=made.head.scale)
    layers = last_layers(network, next(iter(pool.clean())))
    return None if layers is None else classifiers(layers)


def _view_seed(pair: int, view: int) -> int:
    return derived_seed("view", VIEWS_VERSION, pair, view)


def progress_bar(job: TrainingJob, images: int) -> "tqdm[NoReturn]":
    """Return a bar over so many forward passes of images, shown from two seconds on."""
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
    """Return the heads that a network makes at each point of the lattice, and the priors that these stand for."""
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
