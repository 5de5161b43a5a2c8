"""The training set drawn from a dataset's training pool."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from shifts.common.errors import BadInput, check_name
from shifts.images.catalog import Dataset
from shifts.labels.draw import draw, indices_sha256
from shifts.labels.profiles import class_rank, held_out, train_counts
from shifts.labels.shift import MAX_SEED, RULES, Rule, number_text


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
        """Return the settings in words: `imbalance 100 (exp, seeded-shuffle, subset seed 0)` or `natural`."""
        return in_words(self.imbalance, self.profile, self.rule, self.seed)


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
    """Return a training set's settings: `imbalance 100 (exp, seeded-shuffle, subset seed 0)` or `natural`."""
    if imbalance is None:
        return f"{profile} ({rule}, subset seed {seed})" if held_out(profile) else "natural"
    return f"imbalance {number_text(imbalance)} ({profile}, {rule}, subset seed {seed})"
