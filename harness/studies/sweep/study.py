"""The preference sweep of a command line: which lattice, computing its rows, the table that is printed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from harness.evidence.arrays import PoolEvidence
from harness.evidence.heads import STEPS, PreferenceHeads
from harness.passes.gather import HEADS_VERSION, preference_heads
from harness.protocol.draws import Draws
from harness.records.study_rows import StudyRow
from harness.session.models import Model
from harness.session.request import Request
from harness.studies.study import Study
from harness.studies.sweep.defaults import CONTROLS, METHODS
from harness.studies.sweep.preference import ShiftSweep, family_of, sweep
from harness.studies.sweep.rows import ACCESS, LATTICE, Sweep, SweepRow, sweeps_of
from methods.jobs.job import TrainingJob
from methods.jobs.request import TrainingRequest
from methods.networks.hypernetwork import PreferenceNetwork


@dataclass(frozen=True)
class SweepRequest(Request["SweepStudy"]):
    """A lattice of preferences with `steps` along each edge."""

    training: TrainingRequest = TrainingRequest(methods=METHODS)
    steps: int = 10

    def made(self, jobs: Sequence[TrainingJob]) -> "SweepStudy":
        """Return the study over these jobs' models, or the stranger's."""
        return SweepStudy(self, jobs)


class SweepStudy(Study):
    """Every preference on every shift."""

    row: ClassVar[type[StudyRow]] = SweepRow

    def __init__(self, request: SweepRequest, jobs: Sequence[TrainingJob]) -> None:
        self.request = request
        super().__init__(request, jobs)
        plain = {str(model.subject.fields["method"]) for model in self.models if model.subject.blank.head is None}
        missing = [name for name in CONTROLS if name not in plain]
        if missing and len(plain) < len(self.models):
            self.notes.append(f"a hypernetwork shows nothing without its controls; missing here: {', '.join(missing)}")

    def check(self, model: Model) -> None:
        """Accept every model: it can be swept with heads, with experts, or alone."""

    def settings(self, model: Model) -> dict[str, Any]:
        """Return the lattice, view pairs, and the version of the heads where there are some."""
        settings = {"steps": self._steps(model), "views": self._views(model)}
        return settings | ({"heads": HEADS_VERSION} if model.subject.blank.head is not None else {})

    def measure(self, model: Model, pool: PoolEvidence, draws: Sequence[Draws]) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of every point and every choice, shift by shift."""
        family = family_of(pool, self.request.steps, self._finer(model, pool))
        indices = [drawn.published[0].indices for drawn in draws]
        known = {
            "kind": family.kind,
            "steps": self._steps(model),
            "views": self._views(model),
            "target_prior_kind": pool.expert_priors.kind,
        }
        for swept in sweep(pool, family, indices, [drawn.shift.kind for drawn in draws]):
            selections = [(LATTICE, point) for point in range(len(family.points))] + list(swept.chosen.items())
            yield [
                known | _fields(swept, selection, point) | {"preference": family.points[point].tolist()}
                for selection, point in selections
            ]

    def swept(self) -> list[Sweep]:
        """Return the stored sweeps of what was asked for."""
        return sweeps_of(cast(list[SweepRow], self.rows()))

    def _steps(self, model: Model) -> int | None:
        """Return the steps of the lattice along an edge; a stranger's heads are asked where they are."""
        stranger = model.job is None and model.subject.blank.head is not None
        return None if stranger else self.request.steps

    def _views(self, model: Model) -> int | None:
        """Return the number of view pairs that the choice by stability sees; None without."""
        blank = model.subject.blank
        pairs = blank.views if blank.head is None else blank.view_features
        return None if pairs is None else len(pairs)

    def _finer(self, model: Model, pool: PoolEvidence) -> PreferenceHeads | None:
        """Return our own network's heads on another lattice than the evidence's; None where that one will do."""
        if model.job is None or pool.evidence.head is None or self.request.steps == STEPS:
            return None
        network = cast(PreferenceNetwork, model.job.network(self.results, self.device))
        return preference_heads(model.job.method, model.job.training.counts, network, self.request.steps)


def _fields(swept: ShiftSweep, selection: str, point: int) -> dict[str, Any]:
    """Return the figures of one point and what choosing it so took."""
    return {
        "selection": selection,
        **ACCESS[selection].fields,
        "point": point,
        **{
            name: None if values is None else float(np.asarray(values)[point])
            for name in ("top1", "many", "medium", "few", "macro", "agreement", "tv_estimate", "tv_test")
            for values in [getattr(swept, name)]
        },
    }
