"""The data behind rows, where they are at hand: training and test sets drawn again, priors and row ids made again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from harness.checking.claims import adapter_of, method_of
from harness.checking.findings import Fault, Outcome, Unknown, compared
from harness.evidence.arrays import PoolEvidence
from harness.evidence.files import load as load_evidence
from harness.records.rows import Row
from harness.session.subject import of_file, of_job
from methods.core import recipes
from methods.core.priors import ExpertPriors
from methods.jobs.job import TrainingJob
from methods.training.loop import TRAIN_VERSION
from shifts.common.errors import BadInput, WorkFailed
from shifts.common.files import digest, printable
from shifts.images.catalog import Dataset, load
from shifts.images.entries import ENTRIES
from shifts.labels.distance import etvd, tv_experts_test_mean
from shifts.labels.draw import indices_sha256
from shifts.labels.profiles import class_rank
from shifts.labels.shift import Shift, class_counts
from shifts.sets.resolve import resolve
from shifts.sets.source import source_images
from shifts.sets.training import TrainingSet, training_set


@dataclass(frozen=True, eq=False)
class Data:
    """One dataset at hand; `pool` where it is the evidence of somebody's model, which holds labels and no images."""

    dataset: Dataset
    pool: PoolEvidence | None = None
    drawn: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def test_fingerprint(self) -> str:
        """What rows call the test pool by."""
        return self.dataset.test.fingerprint if self.pool is None else digest(self.pool.labels.tolist())

    def training(self, row: Any) -> TrainingSet:
        """Draw a row's training set again. Raises BadInput."""
        given = row.train_imbalance, row.train_profile or "exp", row.train_rule, row.train_subset_seed or 0
        if given not in self.drawn:
            self.drawn[given] = training_set(self.dataset, *given)
        made: TrainingSet = self.drawn[given]
        return made

    def test(self, row: Any) -> tuple[Int[np.ndarray, " drawn"], str]:
        """Draw a row's test set again, and return its indices and origin. Raises BadInput."""
        key = row.shift, getattr(row, "draw_seed", 0), row.train_counts_sha256
        if key not in self.drawn:
            self.drawn[key] = resolve(self.dataset, Shift.parse(row.shift), np.array(row.train_counts), key[1])
        indices, origin = self.drawn[key]
        return indices, origin


@dataclass(eq=False)
class AtHand:
    """The data at hand, by the name that rows have of them. folders: dataset -> local copy; files: evidence."""

    folders: Mapping[str, Path]
    files: Iterable[Path] = ()
    _loaded: dict[str, Data | Unknown] = field(default_factory=dict, repr=False)

    def of(self, name: str) -> Data | Unknown:
        """Return the data that rows call `name`, loaded once. Raises BadInput where a folder cannot be read."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Data | Unknown:
        for file in self.files:
            if name == f"evidence:{printable(file.name)}":
                pool = load_evidence(file)
                return Data(of_file(file, pool).dataset, pool)
        if name in self.folders:
            return Data(load(name, self.folders[name]))
        if name == "embedded" or any(entry.name == name and entry.made is not None for entry in ENTRIES):
            return Data(load(name))
        option = "--evidence FILE" if name.startswith("evidence:") else f"--data-dir {name}=DIR"
        return Unknown(f"{name} is not at hand ({option})")


def test_draw(row: Any, data: Data | Unknown) -> Outcome:
    """Check the pool's fingerprint, and the hash, size, classes and origin of the test set drawn from it again."""
    if isinstance(data, Unknown):
        return data
    if row.test_split != data.dataset.test.split:
        return Unknown(f"the data at hand have no split {row.test_split}")
    if row.test_fingerprint != data.test_fingerprint:
        return Fault(f"test images of {row.dataset} are not those at hand (test_fingerprint)")
    if row.shift_kind in ("custom", "list"):
        return Unknown(f"shifts of a file ({row.shift_kind}) are not drawn again")
    try:
        indices, origin = data.test(row)
    except BadInput as error:
        return Fault(str(error))
    labels = data.dataset.test.labels[indices]
    pairs = [
        ("indices_sha256", row.indices_sha256, indices_sha256(indices)),
        ("n", row.n, len(indices)),
        ("shift_origin", row.shift_origin, origin),
    ]
    if isinstance(row, Row):
        totals = np.bincount(labels, minlength=len(row.per_class_total))
        pairs.append(("per_class_total", list(row.per_class_total), totals.tolist()))
    else:
        pairs.append(("per_class_positives", list(row.per_class_positives), labels.sum(axis=0, dtype=int).tolist()))
    return compared(pairs)


def training_draw(row: Any, data: Data | Unknown) -> Outcome:
    """Check the training set drawn again: its size, classes and fingerprint, and the source images beside it."""
    if isinstance(data, Unknown):
        return data
    if data.pool is not None:
        return compared([("train_counts", list(row.train_counts), data.pool.train_counts.tolist())])
    try:
        made = _training(row, data)
    except BadInput as error:
        return Fault(str(error))
    pairs: list[tuple[str, Any, Any]] = [
        ("train_n", row.train_n, made.n),
        ("train_counts", list(row.train_counts), made.counts.tolist()),
        ("train_fingerprint", row.train_fingerprint, made.fingerprint),
    ]
    if isinstance(row, Row) and row.source_n:
        source = source_images(data.dataset, made)
        pairs += [("source_n", row.source_n, len(source.indices)), ("source_seen", row.source_seen, source.seen)]
    return compared(pairs)


def _training(row: Any, data: Data) -> TrainingSet:
    return data.training(row) if isinstance(row, Row) else training_set(data.dataset)


def counts(row: Row, data: Data | Unknown) -> Outcome:
    """Check the fields of a shift against its name, and its images of each class where the pool's are known.

    They are known of data at hand, and of the published data of the catalog, whose test pools are balanced.
    """
    try:
        shift = Shift.parse(row.shift)
    except BadInput as error:
        return Fault(str(error))
    found = compared(
        [
            ("shift", row.shift, str(shift)),
            *((f"shift_{name}", getattr(row, f"shift_{name}"), getattr(shift, name)) for name in _SHIFT),
        ]
    )
    if found is not None or row.shift_kind in ("custom", "list"):
        return found or Unknown(f"shifts of a file ({row.shift_kind}) are not drawn again")
    entry = next((entry for entry in ENTRIES if entry.name == row.dataset), None)
    if isinstance(data, Data):
        pool, by_index = data.dataset.test.class_counts(), data.dataset.rank_by_index
    elif entry is not None and entry.content is not None:
        content, by_index = entry.content, entry.rank_by_index
        pool = np.full(content.classes, content.test // content.classes)
    else:
        return data
    if len(pool) != len(row.per_class_total):
        return Fault(f"{row.dataset} has {len(pool)} classes, the row {len(row.per_class_total)}")
    try:
        made = class_counts(shift, pool, class_rank(np.array(row.train_counts), by_index))
    except BadInput as error:
        return Fault(str(error))
    return compared([("per_class_total", list(row.per_class_total), made.tolist())])


_SHIFT = ("kind", "ratio", "alpha", "seed", "rule")


def experts(row: Row, data: Data | Unknown) -> Outcome:
    """Check the distances of the experts' priors, which follow from the method's loss and the training set."""
    try:
        priors = _priors(row, data)
    except ValueError as error:
        return Fault(f"{row.method} cannot have been trained on such counts: {error}")
    if priors is None:
        return Unknown(f"method {row.method} is not this program's, and its evidence is not at hand")
    return compared(
        [
            ("etvd", row.etvd, etvd(priors.values)),
            (
                "tv_experts_test_mean",
                row.tv_experts_test_mean,
                tv_experts_test_mean(priors.values, np.array(row.per_class_total)),
            ),
            ("target_prior_kind", row.target_prior_kind, priors.kind),
        ]
    )


def _priors(row: Row, data: Data | Unknown) -> ExpertPriors | None:
    if isinstance(data, Data) and data.pool is not None:
        return data.pool.expert_priors
    if row.dataset.startswith("evidence:"):
        return None
    return _derived(row.method, tuple(row.train_counts))


@cache
def _derived(method: str, counts: tuple[int, ...]) -> ExpertPriors | None:
    """Return the priors of a method's experts after training on such counts; None of somebody's own method."""
    known = method_of(method)
    with np.errstate(all="ignore"):
        return None if known is None else known.expert_priors(np.array(counts))


def row_id(row: Row, data: Data | Unknown) -> Outcome:
    """Check a row's identity: of the evidence file's hash, or of the training that the row names."""
    adapter = adapter_of(row.adapter)
    if adapter is None:
        return Unknown(f"adapter {row.adapter} is not this program's")
    settings = {"adapter": row.adapter, "adapter_version": row.adapter_version, "views": row.views}
    about: dict[str, Any] = {"evidence": row.checkpoint_sha256}
    if row.train_fingerprint is not None:
        trained = _subject(row, data)
        if isinstance(trained, Unknown | Fault):
            return trained
        identity, source = trained
        about = identity | (source if "source" in adapter.reads else {})
    made = digest(
        {
            "subject": about,
            "evidence_version": row.evidence_version,
            "metrics_version": row.metrics_version,
            "adapter": settings,
            "shift": row.shift,
            "indices": row.indices_sha256,
        }
    )
    return compared([("row_id", row.row_id, made)])


def _subject(row: Row, data: Data | Unknown) -> tuple[dict[str, Any], dict[str, Any]] | Unknown | Fault:
    """Return what determines the evidence of a trained network, and what its source images."""
    if isinstance(data, Unknown):
        return data
    method = method_of(row.method)
    if method is None or row.method_version != method.version or row.train_version != TRAIN_VERSION:
        return Unknown(f"method {row.method} is not this program's in that version")
    key = "subject", row.train_counts_sha256, row.method, row.recipe, row.train_seed, row.evidence_precision
    if key not in data.drawn:
        data.drawn[key] = _made_subject(row, data)
    found: tuple[dict[str, Any], dict[str, Any]] | Unknown | Fault = data.drawn[key]
    return found


def _made_subject(row: Row, data: Data) -> tuple[dict[str, Any], dict[str, Any]] | Unknown | Fault:
    method = method_of(row.method)
    assert method is not None
    try:
        recipe = recipes.get(str(row.recipe), row.dataset)
        training = data.training(row)
        job = TrainingJob(data.dataset, training, method, recipe, row.train_seed or 0)
        about = of_job(job, 1, str(row.evidence_precision))
    except (BadInput, WorkFailed):
        return Unknown(f"recipe {row.recipe} is not this program's")
    if about.fields["recipe_sha256"] != row.recipe_sha256:
        return Unknown(f"recipe {row.recipe} of that hash is not this program's")
    return about.identity, about.source
