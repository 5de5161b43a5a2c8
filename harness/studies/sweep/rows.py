"""Rows of a preference sweep, and what follows from them: control strength, front, volume, regret."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from harness.evidence.access import Access
from harness.records.study_rows import StudyRow
from harness.studies.sweep.control import controllability, hypervolume, non_dominated

LATTICE = "lattice"


CHOICES = ("centre", "corner", "stability", "em", "best")
"""Ways of choosing a point of the lattice, as tables show them (`harness.studies.sweep.preference.choose`)."""


GROUPS = ("many", "medium", "few")


ACCESS = {
    LATTICE: Access("none", "none", "inductive"),
    "centre": Access("none", "none", "inductive"),
    "corner": Access("oracle", "none", "inductive"),
    "stability": Access("none", "none", "transductive"),
    "em": Access("estimated", "none", "transductive"),
    "best": Access("none", "test", "transductive"),
}
"""What is known to a point of the lattice as it stands, and of each way of choosing."""


@dataclass(frozen=True)
class SweepRow(StudyRow):
    """One preference on one shift. Every lattice point is a row, and again one for each way that chose it.

    kind: hypernetwork, weights (of expert logits) or adjustment (of one network's logits). steps: of the lattice along
    an edge, None for a stranger's heads. views: pairs behind `agreement`, None without. selection: lattice or one of
    CHOICES; the three access fields are its own. preference: over experts. agreement: mean over images of the two
    views' cosine. tv_estimate, tv_test: total variation between the prior that the preference stands for and EM's
    estimate of the test prior, or the true one. many, medium, few, macro: means of per-class accuracies.
    """

    folder: ClassVar[str] = "sweeps"
    schema: ClassVar[int] = 1
    version: ClassVar[int] = 2

    kind: str
    steps: int | None
    views: int | None
    target_prior_kind: str
    selection: str
    prior_access: str
    label_access: str
    test_access: str
    point: int
    preference: list[float]
    top1: float
    many: float | None
    medium: float | None
    few: float | None
    macro: float
    agreement: float | None
    tv_estimate: float
    tv_test: float


@dataclass(frozen=True)
class Sweep:
    """All rows of one checkpoint on one shift. Raises ValueError without a lattice or with another shift's rows."""

    rows: tuple[SweepRow, ...]

    def __post_init__(self) -> None:
        if not self.lattice or len({row.study_id for row in self.rows}) != 1:
            raise ValueError("a sweep needs the rows of one checkpoint on one shift, with its lattice")

    @property
    def first(self) -> SweepRow:
        """Any row, for what all of them share."""
        return self.rows[0]

    @cached_property
    def lattice(self) -> tuple[SweepRow, ...]:
        """The rows of the lattice points, in their order."""
        return tuple(sorted((row for row in self.rows if row.selection == LATTICE), key=lambda row: row.point))

    @cached_property
    def chosen(self) -> dict[str, SweepRow]:
        """The row of each way of choosing; `stability` is absent where there were no views."""
        return {row.selection: row for row in self.rows if row.selection != LATTICE}

    @cached_property
    def points(self) -> Float[np.ndarray, "points experts"]:
        """The preferences."""
        return np.array([row.preference for row in self.lattice])

    def accuracy(self, name: str) -> Float[np.ndarray, " points"] | None:
        """Return top1, many, medium, few or macro at each point; None for a shot group without a class in the draw."""
        values = [getattr(row, name) for row in self.lattice]
        return None if None in values else np.array(values)

    @cached_property
    def control(self) -> float | None:
        """`harness.studies.sweep.control.controllability`."""
        return controllability(self.points, self.accuracy("many"), self.accuracy("few"))

    def reach(self, name: str) -> tuple[float, float] | None:
        """Return the lowest and highest accuracy (see `accuracy`) over the points."""
        values = self.accuracy(name)
        return None if values is None else (float(values.min()), float(values.max()))

    @cached_property
    def aims(self) -> Float[np.ndarray, "points aims"]:
        """(many, medium, few) at each point, without the groups that the draw has no class of."""
        return np.stack([values for name in GROUPS if (values := self.accuracy(name)) is not None], axis=1)

    @cached_property
    def front(self) -> Bool[np.ndarray, " points"]:
        """Which points no other one dominates in (many, medium, few)."""
        return non_dominated(self.aims)

    @cached_property
    def volume(self) -> float:
        """Hypervolume of the front from the origin."""
        return hypervolume(self.aims[self.front])

    def regret(self, selection: str) -> float | None:
        """Return the top-1 of the best point minus that of the chosen one; None where nothing was chosen so."""
        if selection not in self.chosen:
            return None
        return self.chosen["best"].top1 - self.chosen[selection].top1


def sweeps_of(rows: Iterable[SweepRow]) -> list[Sweep]:
    """Return the rows put together by checkpoint and shift, in the order in which these are first met.

    Of several sweeps of one checkpoint on one shift the newest versions are kept, then the finest lattice, then the
    most views.
    """
    found: dict[str, list[SweepRow]] = {}
    for row in rows:
        found.setdefault(row.study_id, []).append(row)
    kept: dict[tuple[str, str, str], Sweep] = {}
    for group in found.values():
        sweep = Sweep(tuple(group))
        key = sweep.first.checkpoint_sha256, sweep.first.shift, sweep.first.indices_sha256
        if key not in kept or _rank(sweep) > _rank(kept[key]):
            kept[key] = sweep
    return list(kept.values())


def _rank(sweep: Sweep) -> tuple[int, ...]:
    first = sweep.first
    return first.study_version, first.evidence_version, first.metrics_version, len(sweep.lattice), first.views or 0
