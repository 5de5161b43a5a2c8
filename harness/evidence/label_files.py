"""Evidence of label sets as a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from safetensors import safe_open

from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors
from shifts.common.files import write_tensors

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


def save(where: Path, pool: LabelEvidence) -> None:
    """Write evidence, complete or not at all."""
    arrays = {
        "logits": pool.evidence.logits,
        "labels": pool.labels,
        "train_counts": pool.train_counts,
        "expert_priors": pool.expert_priors.values,
    }
    metadata = pool.metadata | {"target_prior_kind": pool.expert_priors.kind}
    write_tensors(where, arrays, metadata)


def load(where: Path) -> LabelEvidence:
    """Read an evidence file of our own. Raises SafetensorError, OSError, KeyError, ValueError for a broken one."""
    with safe_open(where, framework="np") as stream:
        arrays = {name: stream.get_tensor(name) for name in ("logits", "labels", "train_counts", "expert_priors")}
        metadata = dict(stream.metadata() or {})
    priors = ExpertPriors(arrays["expert_priors"], metadata["target_prior_kind"] == "exact")
    return LabelEvidence(Evidence(arrays["logits"]), arrays["labels"], arrays["train_counts"], priors, metadata)
