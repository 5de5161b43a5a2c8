"""From a dataset to the two things everyone works on: a `TrainingSet`, and a shift's indices into the test pool."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int

from shifts.catalog import Dataset
from shifts.draw import draw, indices_sha256, left_out
from shifts.errors import BadInput, check_name
from shifts.imageset import ImageSet
from shifts.listfiles import list_indices
from shifts.profiles import (
    PUBLISHED_RATIOS,
    RULES,
    Rule,
    Shift,
    class_counts,
    class_rank,
    held_out,
    train_counts,
)
from shifts.selection import select, wanted_marginals
from shifts.shift import MAX_SEED, number_text


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """A training set drawn from a dataset's training pool; a multi-label one is the pool, `counts` its label counts.

    `indices` are int64 [n] in dataset order, `counts` int64 [C]. `imbalance` is None for the natural profile.
    `indices_sha256` refers to the full pool, also where the images come from an exported folder; `fingerprint` is the
    drawn images' own digest, the same from the full pool and from an export.
    """

    indices: Int[np.ndarray, " n"]
    counts: Int[np.ndarray, " classes"]
    imbalance: float | None
    profile: str
    rule: Rule
    seed: int
    indices_sha256: str
    fingerprint: str

    @property
    def n(self) -> int:
        return len(self.indices)

    def describe(self) -> str:
        """In words: `imbalance 100 (exp, seeded-shuffle, subset seed 0)` or `natural`."""
        return in_words(self.imbalance, self.profile, self.rule, self.seed)


@dataclass(frozen=True, eq=False)
class SourceImages:
    """Labelled images for estimators that calibrate: int64 `indices` into `pool`, of which `seen` were trained on.

    `indices_sha256` refers to the full pool that they were chosen from, also where they come from an exported folder;
    `pool_fingerprint` tells that pool where it is not the training pool.
    """

    pool: ImageSet
    indices: Int[np.ndarray, " source"]
    seen: int
    indices_sha256: str
    pool_fingerprint: str | None = None


def source_images(dataset: Dataset, training: TrainingSet) -> SourceImages:
    """Class-balanced source images: what the training draw left out; for natural sets the validation split, if any.

    Where too few are left, training images fill up; not after profile `natural:holdout=N`, if it kept some of every
    class. From an exported folder those that were exported with it, else training images.
    """
    drawn, validation = dataset.drawn, dataset.validation
    if drawn is not None and drawn.source_sha256 is not None and validation is not None:
        return SourceImages(validation, np.arange(len(validation)), drawn.source_seen, drawn.source_sha256)
    pool, trained = dataset.train, training.indices
    if training.profile == "natural" and validation is not None:
        pool, trained = validation, np.empty(0, dtype=np.int64)
    kept_back = held_out(training.profile) > 0
    indices, seen = left_out(pool.labels, trained, dataset.classes, held_out=kept_back)
    other = None if pool is dataset.train else pool.fingerprint
    return SourceImages(pool, indices, seen, indices_sha256(indices), other)


def training_set(
    dataset: Dataset,
    imbalance: float | Literal["natural"] | None = None,
    profile: str = "exp",
    rule: Rule = "seeded-shuffle",
    seed: int = 0,
) -> TrainingSet:
    """Draw a training set. `imbalance` None = the dataset's default; `natural` (or profile natural) = all images.

    Profile `natural:holdout=N` leaves N images of each class (at most half of them) out of training, so that they can
    serve as labelled source where there is no validation split.

    From an exported folder all its images are taken, if the settings are those it was drawn with; its imbalance is the
    default there.
    Raises BadInput for settings that the pool cannot give.
    """
    kept_back = held_out(profile)
    check_name("draw rule", rule, RULES)
    if not 0 <= seed <= MAX_SEED:
        raise BadInput(f"the subset seed is {seed}; it must lie in 0..{MAX_SEED}")
    default = dataset.entry.imbalance if dataset.drawn is None else dataset.drawn.imbalance
    wanted = default if imbalance is None else imbalance
    if profile.startswith("natural") and isinstance(imbalance, int | float):
        raise BadInput(f"profile {profile} takes the classes as they are; a train imbalance of {imbalance:g} does not")
    if kept_back:
        wanted = None
    elif wanted is None or wanted == "natural" or profile == "natural":
        # Everything is taken: rule and seed change nothing, and must not tell equal sets apart.
        wanted, profile, rule, seed = None, "natural", RULES[0], 0
    if dataset.drawn is not None:
        return _as_exported(dataset, wanted, profile, rule, seed)
    pool = dataset.train.class_counts()
    if dataset.task == "multi_label":
        if wanted is not None or kept_back:
            raise BadInput(f"{dataset.name} is multi-label and taken as it is; --train-imbalance: allowed is natural")
        counts, indices = pool, np.arange(len(dataset.train))
    else:
        rank = class_rank(pool, dataset.rank_by_index)
        counts = train_counts(profile, pool, wanted, rank, dataset.class_names)
        indices = np.sort(draw(dataset.train.labels, counts, rule, seed))
    imbalance_used = None if wanted is None else float(wanted)
    return TrainingSet(
        indices,
        counts,
        imbalance_used,
        profile,
        rule,
        seed,
        indices_sha256(indices),
        dataset.train.digest(indices.tolist()),
    )


def resolve(
    dataset: Dataset, shift: Shift, train_counts: Int[np.ndarray, " classes"], seed: int = 0
) -> tuple[Int[np.ndarray, " drawn"], Literal["published", "generated"]]:
    """Indices of a shift into the dataset's test pool (int64), and whether they are the published set.

    `train_counts` give the class order of sets that are not ranked by class index; `seed` is the draw's (0 = the
    fixed published draw, others are redraws). `published`: a list file, or one of the eleven sets on the pool that
    they were published on. Of a multi-label pool they are selected by label marginals (`shifts.selection`). Raises
    BadInput where the pool cannot give the shift.
    """
    if not 0 <= seed <= MAX_SEED:
        raise BadInput(f"the draw seed is {seed}; it must lie in 0..{MAX_SEED}")
    pool = dataset.test
    if shift.kind == "list" and dataset.task == "single_label":
        origin: Literal["published", "generated"] = "published" if dataset.published else "generated"
        return list_indices(Path(str(shift.path)), pool), origin
    rank = class_rank(train_counts, dataset.rank_by_index)
    if dataset.task == "multi_label":
        if shift.rule == "first-n":
            raise BadInput(f"shift {shift}: label sets are selected by their marginals; -first_n does not apply")
        if shift.kind == "natural":
            return np.arange(len(pool)), "published" if dataset.entry.label_counts is not None else "generated"
        return select(pool.labels, wanted_marginals(shift, rank), seed), "generated"
    counts = class_counts(shift, pool.class_counts(), rank, dataset.class_names)
    indices = draw(pool.labels, counts, str(shift.rule), seed)
    return indices, "published" if _is_published(dataset, shift, len(indices), seed) else "generated"


def _is_published(dataset: Dataset, shift: Shift, n: int, seed: int) -> bool:
    """Whether a draw is a published test set: on published content, of a published kind."""
    entry = dataset.entry
    if not dataset.published:
        return False
    if shift.kind in ("uniform", "natural") and n == len(dataset.test):
        return entry.eleven or entry.lists is not None
    listed = shift.kind in ("forward_lt", "backward_lt") and shift.ratio in PUBLISHED_RATIOS
    return entry.eleven and listed and shift.rule == RULES[0] and seed == 0


def _as_exported(dataset: Dataset, imbalance: float | None, profile: str, rule: Rule, seed: int) -> TrainingSet:
    drawn = dataset.drawn
    assert drawn is not None
    if (imbalance, profile, rule, seed) != (drawn.imbalance, drawn.profile, drawn.rule, drawn.seed):
        held = in_words(drawn.imbalance, drawn.profile, drawn.rule, drawn.seed)
        raise BadInput(
            f"the data folder holds the training set {held} of {drawn.dataset} and nothing else; "
            f"{in_words(imbalance, profile, rule, seed)} needs the full dataset"
        )
    indices = np.arange(len(dataset.train))
    counts = np.asarray(drawn.counts, dtype=np.int64)
    return TrainingSet(
        indices, counts, drawn.imbalance, profile, rule, seed, drawn.indices_sha256, dataset.train.fingerprint
    )


def in_words(imbalance: float | None, profile: str, rule: str, seed: int) -> str:
    """A training set's settings: `imbalance 100 (exp, seeded-shuffle, subset seed 0)` or `natural`."""
    if imbalance is None:
        return f"{profile} ({rule}, subset seed {seed})" if held_out(profile) else "natural"
    return f"imbalance {number_text(imbalance)} ({profile}, {rule}, subset seed {seed})"
