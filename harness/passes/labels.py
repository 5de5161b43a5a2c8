"""Evidence of a multi-label model: branch logits of the clean test pool, computed once and cached by hash.

One safetensors file: `logits` [N, E, C], `labels` uint8 [N, C], `train_counts` [C], `expert_priors` [E, C]. Views and
labelled source images are for adapters that label sets do not take.
"""

import json
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError

from harness.evidence import tensors
from harness.evidence.arrays import Evidence
from harness.evidence.label_files import EVIDENCE_VERSION, LabelEvidence, load, save
from harness.passes.gather import collected, forward, progress_bar, read_logits
from harness.passes.pools import Pools
from methods.core.precision import Precision
from methods.jobs.job import TrainingJob
from methods.networks.folding import fold_batchnorm
from shifts.common.errors import WorkFailed
from shifts.common.files import digest


def identity(precision: Precision) -> dict[str, str]:
    """Return what a precision adds to identities: nothing for float32, which is older than the choice."""
    return {} if precision == "fp32" else {"label_evidence_precision": precision}


def key(job: TrainingJob, checkpoint_sha256: str, precision: Precision = "fp32") -> str:
    """Return the SHA-256 of everything that determines the evidence of a checkpoint."""
    return digest(
        {
            "label_evidence_version": EVIDENCE_VERSION,
            "checkpoint": checkpoint_sha256,
            "test": job.dataset.test.fingerprint,
        }
        | identity(precision)
    )


def path(job: TrainingJob, results: Path, precision: Precision = "fp32") -> Path:
    """Return the path where the evidence of a job's checkpoint is kept."""
    suffix = "" if precision == "fp32" else f"-{precision}"
    return results / "evidence" / f"{job.stem}-labels{suffix}.safetensors"


def gather(
    job: TrainingJob, checkpoint_sha256: str, results: Path, pools: Pools, precision: Precision = "fp32"
) -> LabelEvidence:
    """Return the evidence of a checkpoint: read if it is there and fits checkpoint and data, else computed and stored.

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


def _compute(job: TrainingJob, results: Path, pools: Pools, precision: Precision, wanted: str) -> LabelEvidence:
    start = time.perf_counter()
    network = job.network(results, pools.device)
    if precision != "fp32":
        # Stored float32 evidence is of networks as they are, and rounding would set another apart from it.
        network = fold_batchnorm(network, job.spec.image_size)
    test = job.dataset.test
    pool = pools.of(job, test, np.arange(len(test)))
    with progress_bar(job, len(pool)) as bar:
        logits = collected(forward(network, pool.clean(), precision), bar, logits=read_logits)["logits"]
    if not np.isfinite(logits).all():
        raise WorkFailed(f"{job.method_name} seed {job.seed}: the trained network gives NaN or infinite logits")
    metadata = {
        "key": wanted,
        "class_names": json.dumps(test.class_names),
        "seconds": f"{time.perf_counter() - start:.3f}",
    }
    counts = job.training.counts
    return LabelEvidence(Evidence(logits), test.labels, counts, job.method.expert_priors(counts), metadata)
