"""Evidence of a multi-label model: branch logits of the clean test pool, computed once and cached by hash.

One safetensors file: `logits` [N, E, C], `labels` uint8 [N, C], `train_counts` [C], `expert_priors` [E, C]. Views and
labelled source images are for adapters that label sets do not take.
"""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from jaxtyping import Int, UInt8
from safetensors import SafetensorError, safe_open

from harness import tensors
from harness.adapters.base import Evidence
from harness.passes import expert_logits, forward_of, progress_bar
from harness.pools import Pools
from methods.job import TrainingJob
from methods.networks.folding import fold_batchnorm
from methods.priors import ExpertPriors
from methods.recipe import Precision
from shifts.errors import WorkFailed
from shifts.files import digest

EVIDENCE_VERSION = 1
"""Raised whenever the same checkpoint and data would give other arrays."""


@dataclass(frozen=True)
class LabelEvidence:
    """Evidence of a whole multi-label test pool with what is needed to draw from it and to measure."""

    evidence: Evidence
    labels: UInt8[np.ndarray, "images classes"]
    train_counts: Int[np.ndarray, " classes"]
    expert_priors: ExpertPriors
    metadata: dict[str, str]


def identity(precision: Precision) -> dict[str, str]:
    """What a precision adds to identities: nothing for float32, which is older than the choice."""
    return {} if precision == "fp32" else {"label_evidence_precision": precision}


def key(job: TrainingJob, checkpoint_sha256: str, precision: Precision = "fp32") -> str:
    """SHA-256 of everything that determines the evidence of a checkpoint."""
    return digest(
        {
            "label_evidence_version": EVIDENCE_VERSION,
            "checkpoint": checkpoint_sha256,
            "test": job.dataset.test.fingerprint,
        }
        | identity(precision)
    )


def path(job: TrainingJob, results: Path, precision: Precision = "fp32") -> Path:
    """Where the evidence of a job's checkpoint is kept."""
    suffix = "" if precision == "fp32" else f"-{precision}"
    return results / "evidence" / f"{job.stem}-labels{suffix}.safetensors"


def gather(
    job: TrainingJob, checkpoint_sha256: str, results: Path, pools: Pools, precision: Precision = "fp32"
) -> LabelEvidence:
    """The evidence of a checkpoint: read if it is there and fits checkpoint and data, else computed and stored.

    precision: as in `harness.passes.gather`. Raises WorkFailed where logits are not finite or the checkpoint cannot be
    loaded.
    """
    where, wanted = path(job, results, precision), key(job, checkpoint_sha256, precision)
    where.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(where.parent / f".{where.stem}.lock"):
        found = tensors.metadata(where)
        if found is not None and found.get("key") == wanted:
            # What is there but broken is recomputed as if it were stale.
            with suppress(SafetensorError, OSError, KeyError, ValueError):
                return load(where)
        pool = _compute(job, results, pools, precision, wanted)
        save(where, pool)
        return pool


def save(where: Path, pool: LabelEvidence) -> None:
    """Write evidence, complete or not at all."""
    arrays = {
        "logits": pool.evidence.logits,
        "labels": pool.labels,
        "train_counts": pool.train_counts,
        "expert_priors": pool.expert_priors.values,
    }
    metadata = pool.metadata | {"target_prior_kind": pool.expert_priors.kind}
    tensors.write(where, arrays, metadata)


def load(where: Path) -> LabelEvidence:
    """Read an evidence file of our own. Raises SafetensorError, OSError, KeyError, ValueError for a broken one."""
    with safe_open(where, framework="np") as stream:
        arrays = {name: stream.get_tensor(name) for name in ("logits", "labels", "train_counts", "expert_priors")}
        metadata = dict(stream.metadata() or {})
    priors = ExpertPriors(arrays["expert_priors"], metadata["target_prior_kind"] == "exact")
    return LabelEvidence(Evidence(arrays["logits"]), arrays["labels"], arrays["train_counts"], priors, metadata)


def _compute(job: TrainingJob, results: Path, pools: Pools, precision: Precision, wanted: str) -> LabelEvidence:
    start = time.perf_counter()
    network = job.network(results, pools.device)
    if precision != "fp32":
        # Stored float32 evidence is of networks as they are, and rounding would set another apart from it.
        network = fold_batchnorm(network, job.spec.image_size)
    forward = forward_of(network, pools.device, precision)
    test = job.dataset.test
    pool = pools.of(job, test, np.arange(len(test)))
    with progress_bar(job, len(pool)) as bar:
        logits = expert_logits(forward, pool.clean(), bar)
    if not np.isfinite(logits).all():
        raise WorkFailed(f"{job.method_name} seed {job.seed}: the trained network gives NaN or infinite logits")
    metadata = {
        "key": wanted,
        "class_names": json.dumps(test.class_names),
        "seconds": f"{time.perf_counter() - start:.3f}",
    }
    counts = job.training.counts
    return LabelEvidence(Evidence(logits), test.labels, counts, job.method.expert_priors(counts), metadata)
