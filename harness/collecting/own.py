"""Evidence of a checkpoint of ours, of the dataset's test images or of a folder without labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness.evidence import files
from harness.evidence.arrays import UnlabelledEvidence
from harness.passes.gather import HALF, evidence_of, labelled
from harness.passes.pools import Pools
from methods import papers
from methods.core.precision import Precision, whole_float32
from methods.core.recipe import Recipe
from methods.jobs.job import TrainingJob
from methods.training import checkpoint
from methods.training.loop import build_network
from shifts.common.errors import BadInput
from shifts.common.files import file_sha256
from shifts.images.catalog import Dataset
from shifts.images.imageset import ImageSet
from shifts.sets.training import TrainingSet


def job_of(file: Path, dataset: Dataset, training: TrainingSet) -> TrainingJob:
    """Return the job that made a checkpoint, from what stands beside it. Raises BadInput where the data are others."""
    description = checkpoint.describe(file)
    if description is None:
        raise BadInput(f"--checkpoint {file}: no finished checkpoint (the .safetensors and its .json are both needed)")
    method = papers.get(description["method"])
    papers.check_task(method, dataset.task, dataset.name)
    if dataset.task == "multi_label":
        raise BadInput(f"{dataset.name} has label sets; evidence of these is harness.run's")
    if description["train_fingerprint"] != training.fingerprint:
        raise BadInput(
            f"--checkpoint {file} was trained on {description['dataset']} with other images than {dataset.name}, "
            f"{training.describe()}: give the data options of its training"
        )
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in description["recipe_settings"].items()
    }
    return TrainingJob(dataset, training, method, Recipe(description["recipe"], **settings), description["seed"])


def collect(
    job: TrainingJob,
    file: Path,
    device: torch.device,
    output: Path,
    *,
    test: ImageSet | None = None,
    ids: Sequence[str] | None = None,
    views: int = 0,
    precision: Precision = "fp32",
    features: bool = False,
) -> None:
    """Write the evidence of a checkpoint; `test`: images that nobody has labelled, None for the dataset's.

    Of the dataset's images it is what `harness.run` stores. Raises WorkFailed for a damaged checkpoint.
    """
    whole_float32()
    network = build_network(job.method, job.spec, job.seed)
    checkpoint.load(file, network, method=job.method_name, classes=job.spec.classes)
    network = network.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    made = evidence_of(
        job, network, Pools(device), job.dataset.test if test is None else test, views, precision, features=features
    )
    about = {"source_sha256": job.source.indices_sha256, "model": file_sha256(file)}
    pool = labelled(job, made, about)
    half = HALF if features and not job.method.has_preference else ()
    if test is None:
        files.save(output, pool, half=half, ids=ids)
    else:
        bare = UnlabelledEvidence(made, pool.train_counts, pool.expert_priors, pool.class_names, about)
        files.save(output, bare, half=half, ids=ids)
