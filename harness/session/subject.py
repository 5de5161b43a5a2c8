"""What rows are about: a model on a test pool, ours from a training job or a stranger's from an evidence file."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from harness.evidence.arrays import EVIDENCE_VERSION, Evidence, PoolEvidence
from harness.evidence.doubts import doubts
from harness.evidence.files import load
from harness.measures.metrics import METRICS_VERSION
from harness.protocol.measure import probe
from methods.core import recipes
from methods.core.recipe import Recipe
from methods.jobs.job import TrainingJob
from methods.papers.reported import Reported, reported
from methods.training.loop import TRAIN_VERSION
from shifts.common.errors import BadInput, WorkFailed
from shifts.common.files import MOST_BYTES, digest, file_sha256, printable, shortened
from shifts.images.catalog import Dataset
from shifts.images.entries import Entry
from shifts.images.imageset import ImageSet
from shifts.labels.shift import RULES
from shifts.sets.training import TrainingSet


@dataclass(frozen=True)
class Subject:
    """A model on a test pool. `identity` is what determines its evidence; `fields` are the row fields known early."""

    stem: str
    identity: dict[str, Any]
    fields: dict[str, Any]
    dataset: Dataset
    train_counts: Int[np.ndarray, " classes"]
    blank: Evidence = field(repr=False)
    """One image's evidence with the parts that the real one has or will have."""
    source: dict[str, Any] = field(default_factory=dict)
    """What determines the labelled source images besides `identity`."""
    published: bool = False
    """Whether the recipe is `published`, or a shortening of it, as the program has it for the dataset."""

    def row_id(self, adapter: dict[str, Any], shift: str, indices_sha256: str, *, source: bool = False) -> str:
        """Return the SHA-256 of everything that determines a row's value.

        A clock, a host or a revision of the program is never part of it.
        source: whether the adapter reads labelled source images.
        """
        return digest(
            {
                "subject": self.identity | (self.source if source else {}),
                "evidence_version": EVIDENCE_VERSION,
                "metrics_version": METRICS_VERSION,
                "adapter": adapter,
                "shift": shift,
                "indices": indices_sha256,
            }
        )

    def reported(self, adapter: str, shift: str) -> Reported | None:
        """Return the published figure for this method, on a training set and with a recipe of the published kind.

        That is: the default draw, the exponential profile (or the data's own), `published` or a shortening of it.
        """
        drawn = self.fields["train_rule"], self.fields["train_subset_seed"]
        if not self.published or drawn != (RULES[0], 0) or self.fields["train_profile"] not in ("exp", "natural"):
            return None
        key = self.fields["method"], adapter, self.fields["dataset"], self.fields["train_imbalance"], shift
        return reported(*key)


def of_job(job: TrainingJob, views: int, precision: str = "fp32", features: bool = False) -> Subject:
    """Return the subject of a training job, known before anything is trained.

    precision: of its evidence, which has features and classifiers where `features`.
    Raises BadInput for impossible options.
    """
    training = job.training
    try:
        with np.errstate(all="ignore"):
            priors = job.method.expert_priors(training.counts)
    except ValueError as error:
        raise BadInput(f"{job.method_name} does not fit this training set: {error}") from error
    experts, classes = priors.values.shape
    return Subject(
        stem=job.stem,
        identity={"training": job.key, "test": job.dataset.test.fingerprint, "precision": precision},
        fields=data_fields(job.dataset, training)
        | {
            "method": job.method_name,
            "method_version": job.method.version,
            "backbone": job.recipe.backbone,
            "recipe": job.recipe.name,
            "recipe_sha256": recipe_sha256(job),
            "epochs": sum(stage.epochs for stage in job.method.stages(job.recipe)),
            "train_seed": job.seed,
            "train_version": TRAIN_VERSION,
            "evidence_precision": precision,
            "data_notes": [note.text for note in job.dataset.notes if note.weight == "numbers"],
        },
        dataset=job.dataset,
        train_counts=training.counts,
        blank=probe(experts, classes, views, job.method.has_gates, job.method.has_preference, features),
        source=_source(job) if job.dataset.entry.task == "single_label" else {},
        published=_published(job.recipe, job.dataset.name),
    )


def _source(job: TrainingJob) -> dict[str, Any]:
    """Return which images serve as labelled source, and how many of them were trained on."""
    source = job.source
    found = {"source": source.indices_sha256, "source_seen": source.seen}
    return found if source.pool_fingerprint is None else found | {"source_pool": source.pool_fingerprint}


def recipe_sha256(job: TrainingJob) -> str:
    """Return the SHA-256 of the recipe and of how its batches were taken.

    Models of one seed that differ in that are not averaged.
    """
    settings = job.recipe.settings()
    if job.accumulate > 1:
        settings["accumulate"] = job.accumulate
    if job.sync_bn:
        settings["sync_bn"] = True
    return digest(settings)


def _published(given: Recipe, dataset: str) -> bool:
    try:
        return given.name.startswith("published") and recipes.get(given.name, dataset) == given
    except BadInput:
        return False


def stranger(path: Path) -> tuple[Subject, PoolEvidence]:
    """Return the subject of a stranger's evidence file and what it holds; what is odd in that is said on stderr.

    Raises BadInput as `harness.evidence.files.load`.
    """
    pool = load(path)
    for doubt in doubts(pool):
        print(f"note: {path}: {doubt}", file=sys.stderr)
    return of_file(path, pool), pool


def of_file(path: Path, pool: PoolEvidence) -> Subject:
    """Return the subject of a stranger's evidence file: its name is the method's, its hash the checkpoint's."""
    sha256 = file_sha256(path)
    counts = pool.train_counts
    name = printable(path.name)
    images = ImageSet(f"evidence:{name}", "test", pool.labels, pool.class_names, _NoImages(name))
    dataset = Dataset(Entry(images.name, f"the test pool of {name}", "unknown"), images, images, False, None, None)
    return Subject(
        stem=f"evidence-{shortened(path.stem, MOST_BYTES)}-{sha256[:12]}",
        identity={"evidence": sha256},
        fields={
            "dataset": images.name,
            "train_fingerprint": None,
            "test_fingerprint": digest(pool.labels.tolist()),
            "test_split": "test",
            "train_profile": None,
            "train_imbalance": float(counts.max() / counts.min()),
            "train_rule": None,
            "train_subset_seed": None,
            "train_n": int(counts.sum()),
            "train_counts": counts.tolist(),
            "train_counts_sha256": digest(counts.tolist()),
            "data_notes": [],
            "method": printable(path.stem),
            "method_version": 0,
            "backbone": None,
            "parameters": None,
            "macs": None,
            "recipe": None,
            "recipe_sha256": sha256,  # two files of one name are not two seeds of one model
            "epochs": None,
            "train_seed": None,
            "train_version": None,
            "evidence_precision": None,
            "checkpoint_sha256": sha256,
            "train_seconds": None,
            "evidence_seconds": None,
        },
        dataset=dataset,
        train_counts=counts,
        blank=pool.evidence.take(np.zeros(1, np.int64)),
    )


def data_fields(dataset: Dataset, training: TrainingSet) -> dict[str, Any]:
    """Return the row fields that say which data."""
    counts = [int(count) for count in training.counts]
    return {
        "dataset": dataset.name,
        "train_fingerprint": training.fingerprint,
        "test_fingerprint": dataset.test.fingerprint,
        "test_split": dataset.test.split,
        "train_profile": training.profile,
        "train_imbalance": training.imbalance,
        "train_rule": training.rule,
        "train_subset_seed": training.seed,
        "train_n": training.n,
        "train_counts": counts,
        "train_counts_sha256": digest(counts),
    }


@dataclass(frozen=True)
class _NoImages:
    """The store of a pool of which only evidence is at hand."""

    name: str

    def read(self, indices: Any) -> list[bytes]:
        raise WorkFailed(f"{self.name} holds evidence, no images")

    def where(self, index: int) -> str:
        return self.name
