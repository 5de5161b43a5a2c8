"""How well test priors are estimated: many test sets of each shift, drawn with replacement, one estimate each.

The set-up is that of Alexandari, Kundaje and Shrikumar (ICML 2020) and Lipton, Wang and Smola (ICML 2018): the class
shares of a set are drawn from a Dirichlet law (here also: any shift), its images with replacement from the pool, so
that a set may be larger than a draw without. Images that are drawn twice say nothing new twice: estimators that hold
images out (`eb_em`) find copies of them in what they keep.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
from jaxtyping import Float, Int
from tqdm import tqdm

from harness import adapters
from harness.adapters.mean import Mean
from harness.adapters.parts.contract import Adapter
from harness.adapters.parts.streams import StreamAdapter
from harness.evidence.arrays import Evidence, PoolEvidence
from harness.protocol.arrival import arrival
from harness.protocol.draws import Draws
from harness.protocol.measure import declared, settings_of
from harness.records.study_rows import StudyRow
from harness.session.models import Model
from harness.session.request import Request
from harness.studies.estimate.defaults import ADAPTERS, METHODS, SHIFTS
from harness.studies.estimate.rows import EstimateRow
from harness.studies.study import Study
from methods.core.options import canonical_name
from methods.core.priors import target_prior
from methods.jobs.job import TrainingJob
from methods.jobs.request import TrainingRequest
from shifts.common.errors import BadInput, WorkFailed
from shifts.images.catalog import Dataset
from shifts.labels.distance import js_divergence, match_distance, relative_error, total_variation
from shifts.labels.draw import draw_with_replacement
from shifts.labels.profiles import class_rank, sized_counts
from shifts.labels.shift import MAX_SEED, Shift, class_prior
from shifts.sets.request import ShiftRequest

WITHOUT = ("calibrated", "routed", "t3a", "lame", "tent_head", "shot_head")
"""Adapters that estimate nothing."""

ERRORS = ("tv", "js", "tv_target", "rae", "nmd")
"""Fields of a row: TV and JS of the estimate to the truth, TV of the prior that the mean answers for, RAE and NMD."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One test set: int64 indices into the pool, in the order of arrival, and its class shares."""

    indices: Int[np.ndarray, " n"]
    prior: Float[np.ndarray, " classes"]


@dataclass(frozen=True)
class EstimateRequest(Request["EstimateStudy"]):
    """Adapters, each on `trials` test sets of `set_size` images of every shift."""

    training: TrainingRequest = TrainingRequest(methods=METHODS)
    shifts: ShiftRequest = ShiftRequest(shift=SHIFTS)
    adapters: tuple[str, ...] = ADAPTERS
    trials: int = 20
    set_size: int = 10_000

    def check_names(self) -> None:
        """Raise BadInput for what is wrong whatever the data hold."""
        super().check_names()
        estimators(self.adapters)

    def made(self, jobs: Sequence[TrainingJob]) -> "EstimateStudy":
        """Return the study over these jobs' models, or the stranger's."""
        return EstimateStudy(self, jobs)


class EstimateStudy(Study):
    """Every estimator on many test sets of every shift."""

    row: ClassVar[type[StudyRow]] = EstimateRow

    def __init__(self, request: EstimateRequest, jobs: Sequence[TrainingJob]) -> None:
        self.request = request
        self.adapters = estimators(request.adapters)
        super().__init__(request, jobs)
        for shift in self.shifts:
            if shift.kind == "list":
                raise BadInput(f"shift {shift} names its images itself; sets are drawn with replacement here")
            if shift.seed is not None and shift.seed + request.trials - 1 > MAX_SEED:
                raise BadInput(f"shift {shift} with {request.trials} sets: its seed goes beyond {MAX_SEED}")

    def check(self, model: Model) -> None:
        """Note the estimators that a model lacks something for; raise BadInput where none is left."""
        reasons = {adapter.name: adapter.missing(model.subject.blank) for adapter in self.adapters}
        method = model.subject.fields["method"]
        lacking = [f"{name} does not apply to {method}: {reason}" for name, reason in reasons.items() if reason]
        if len(lacking) == len(reasons):
            raise BadInput("; ".join(lacking))
        self.notes += [note for note in lacking if note not in self.notes]

    def settings(self, model: Model) -> dict[str, Any]:
        """Return the sets, and every estimator that applies."""
        usable = [settings_of(adapter, model.subject.blank) for adapter in self._usable(model)]
        return {
            "trials": self.request.trials,
            "size": self.request.set_size,
            "adapters": sorted(usable, key=str),
            "source": model.subject.source,
        }

    def measure(self, model: Model, pool: PoolEvidence, draws: Sequence[Draws]) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of every estimator on the sets of each shift."""
        usable = self._usable(model)
        total = len(draws) * self.request.trials * len(usable)
        with tqdm(total=total, desc=f"estimates {model.title}", delay=2, leave=False, disable=None) as bar:
            for drawn in draws:
                errors: dict[int, list[tuple[float, ...]]] = {number: [] for number in range(len(usable))}
                for number in range(self.request.trials):
                    trial = trial_of(drawn.dataset, drawn.shift, pool.train_counts, self.request.set_size, number)
                    shown = pool.evidence.take(trial.indices)
                    rank = class_rank(pool.train_counts, drawn.dataset.rank_by_index)
                    for place, adapter in enumerate(usable):
                        errors[place].append(_errors(adapter, pool, shown, trial.prior, number, rank))
                        bar.update()
                yield [
                    {name: value for name, value in known.items() if name in EstimateRow.__dataclass_fields__}
                    | {"n": self.request.set_size, "trials": self.request.trials, "classes": len(pool.train_counts)}
                    | dict(zip(ERRORS, map(list, zip(*errors[place], strict=True)), strict=True))
                    for place, adapter in enumerate(usable)
                    for known in [declared(adapter, pool.evidence, pool.expert_priors)]
                ]

    def estimated(self) -> list[EstimateRow]:
        """Return the stored rows of what was asked for."""
        return cast(list[EstimateRow], self.rows())

    def _usable(self, model: Model) -> list[Adapter]:
        return [adapter for adapter in self.adapters if adapter.missing(model.subject.blank) is None]


def trial_of(dataset: Dataset, shift: Shift, train_counts: Int[np.ndarray, " classes"], n: int, number: int) -> Trial:
    """Return test set `number` (0, 1, ...) of a shift: `n` images with replacement.

    Seeded shifts begin at their own seed.
    """
    if shift.seed is not None:
        shift = replace(shift, seed=shift.seed + number)
    pool = dataset.test
    rank = class_rank(train_counts, dataset.rank_by_index)
    counts = sized_counts(class_prior(shift, pool.class_counts(), rank, dataset.class_names), n)
    indices = draw_with_replacement(pool.labels, counts, number)
    order = arrival("shuffled", pool.labels[indices], train_counts, number)
    return Trial(indices[order], counts / n)


def estimators(names: Sequence[str]) -> list[Adapter]:
    """Return the adapters of these names, each once. Raises BadInput for one that makes no estimate."""
    return list({canonical_name(adapter): adapter for adapter in map(_estimator, names)}.values())


def _estimator(text: str) -> Adapter:
    """Return an adapter that estimates a prior. Raises BadInput for one that does not, or that is told the truth."""
    adapter = adapters.get(text)
    if not isinstance(adapter, Adapter):
        raise BadInput(f"adapter {text} is told the truth; there is nothing to estimate")
    if isinstance(adapter, StreamAdapter) or adapter.name in WITHOUT:
        raise BadInput(f"adapter {text} has no estimate of a whole set's prior; allowed are {', '.join(ADAPTERS)}, ...")
    return adapter


def _errors(
    adapter: Adapter,
    pool: PoolEvidence,
    shown: Evidence,
    prior: Float[np.ndarray, " classes"],
    seed: int,
    rank: Int[np.ndarray, " classes"],
) -> tuple[float, ...]:
    """Return ERRORS of an adapter's estimate.

    prior: the truth, [C]; rank: of each class, 0 = head.
    Raises WorkFailed for an adapter that makes no estimate.
    """
    answered, order = target_prior(pool.expert_priors), np.argsort(rank)
    estimate = answered
    if not isinstance(adapter, Mean):
        fitted = adapter.fit(shown, pool.train_counts, pool.expert_priors, seed)
        if fitted.prior is None:
            raise WorkFailed(f"adapter {adapter.name} made no estimate of the test prior")
        estimate = fitted.prior
    return (
        total_variation(estimate, prior),
        js_divergence(estimate, prior),
        total_variation(answered, prior),
        relative_error(estimate, prior, len(shown.logits)),
        match_distance(estimate[order], prior[order]),
    )
