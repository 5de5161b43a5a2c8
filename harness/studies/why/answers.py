"""Answers: what a checkpoint predicts for the uniform test set, and how sure it is of the hardest wrong class.

One small safetensors file a checkpoint under `results/why/answers/`: all that the analysis over many models needs of
it. `predicted` [P, N] are classes, `hardest` [P, N] float16 probabilities, `labels` [N]; P predictors are the mean of
all experts, then each expert alone and the means of the first 2, 3, ... experts, as RIDE adds them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open

from harness.adapters.parts.contract import WeightedExperts
from harness.evidence.arrays import EVIDENCE_VERSION, Evidence
from harness.studies.why.bias_variance import hardest_negative
from shifts.common.errors import WorkFailed
from shifts.common.files import canonical_json, digest, write_tensors

ANSWERS_VERSION = 1
"""Raised whenever the same checkpoint and test set would give another file."""


@dataclass(frozen=True)
class Predictor:
    """Some experts of a model that answer together, by the mean of their logits; `used` are their places."""

    name: str
    used: tuple[int, ...]


def predictors(experts: int) -> list[Predictor]:
    """Return `mean` of all experts; with several also `expert-1`, ... alone and `first-2`, ... short of all."""
    every = Predictor("mean", tuple(range(experts)))
    if experts == 1:
        return [every]
    alone = [Predictor(f"expert-{place + 1}", (place,)) for place in range(experts)]
    return [every, *alone, *(Predictor(f"first-{k}", tuple(range(k))) for k in range(2, experts))]


@dataclass(frozen=True)
class Answers:
    """The answers of one checkpoint. `about` holds what rows hold of data, method, recipe, seeds and indices."""

    predicted: Int[np.ndarray, "predictors images"]
    hardest: Float[np.ndarray, "predictors images"]
    labels: Int[np.ndarray, " images"]
    experts: int
    about: dict[str, Any]


def answer(
    logits: Float[np.ndarray, "images experts classes"], labels: Int[np.ndarray, " images"], about: dict[str, Any]
) -> Answers:
    """Return what expert logits answer, by predictor. Raises WorkFailed for logits that are not finite."""
    if not np.isfinite(logits).all():
        raise WorkFailed(f"{about['method']} seed {about['train_seed']}: the network gives NaN or infinite logits")
    _, experts, classes = logits.shape
    small = np.min_scalar_type(classes - 1)
    evidence, predicted, hardest = Evidence(logits), [], []
    for predictor in predictors(experts):
        weights = np.isin(np.arange(experts), predictor.used) / len(predictor.used)
        joint = WeightedExperts(weights).predict(evidence)
        predicted.append(joint.argmax(axis=1).astype(small))
        hardest.append(hardest_negative(joint, labels).astype(np.float16))
    return Answers(np.stack(predicted), np.stack(hardest), np.asarray(labels).astype(small), experts, about)


def folder(results: Path) -> Path:
    """Return the folder where answers are kept."""
    return results / "why" / "answers"


def key(checkpoint_sha256: str, test_fingerprint: str, indices_sha256: str) -> str:
    """Return the SHA-256 of everything that determines a checkpoint's answers."""
    return digest(
        {
            "answers_version": ANSWERS_VERSION,
            "evidence_version": EVIDENCE_VERSION,
            "checkpoint": checkpoint_sha256,
            "test": test_fingerprint,
            "indices": indices_sha256,
        }
    )


@dataclass(frozen=True)
class Stored:
    """What a stored file belongs to."""

    key: str
    checkpoint_sha256: str
    recipe_sha256: str


def stored(path: Path) -> Stored | None:
    """Return what a stored file belongs to, or None where there is none that can be read."""
    try:
        with safe_open(path, framework="np") as stream:
            metadata = json.loads(stream.metadata()["json"])
        about = metadata["about"]
        return Stored(metadata["key"], about["checkpoint_sha256"], about["recipe_sha256"])
    except (SafetensorError, OSError, TypeError, KeyError, ValueError):
        return None


def save(path: Path, answers: Answers) -> None:
    """Write a checkpoint's answers with their key, complete or not at all."""
    arrays = {"predicted": answers.predicted, "hardest": answers.hardest, "labels": answers.labels}
    # One entry, because the order of several is left to chance.
    content = {"key": _key_of(answers.about), "experts": answers.experts, "about": answers.about}
    write_tensors(path, arrays, {"json": canonical_json(content)})


def load(path: Path) -> Answers:
    """Read a file of `save`. Raises WorkFailed, naming the file, if it is truncated or something else."""
    try:
        with safe_open(path, framework="np") as stream:
            metadata = json.loads(stream.metadata()["json"])
            predicted, hardest, labels = (stream.get_tensor(name) for name in ("predicted", "hardest", "labels"))
            return Answers(predicted, hardest, labels, metadata["experts"], metadata["about"])
    except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
        raise WorkFailed(f"{path}: no file of stored answers ({error}); delete it and run again") from error


def load_all(results: Path) -> Iterator[Answers]:
    """Yield all stored answers of these versions under a results folder, by file name. Raises WorkFailed as `load`."""
    for path in sorted(folder(results).glob("[!.]*.safetensors")):
        read, found = load(path), stored(path)
        # Answers of an older version wait for being asked again; they are not mixed with others.
        if found is not None and found.key == _key_of(read.about):
            yield read


def _key_of(about: dict[str, Any]) -> str:
    return key(about["checkpoint_sha256"], about["test_fingerprint"], str(about.get("indices_sha256")))
