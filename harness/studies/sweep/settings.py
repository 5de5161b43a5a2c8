"""Stored preference sweeps as the report and the terminal group them."""

from collections.abc import Callable, Sequence
from functools import cached_property

from harness.show.settings import Setting
from harness.show.text import mean_of
from harness.studies.sweep.rows import CHOICES, Sweep, SweepRow, sweeps_of


class SweepSetting(Setting[SweepRow]):
    """The sweeps of one dataset, training set and recipe."""

    @cached_property
    def sweeps(self) -> list[Sweep]:
        """The rows put together by checkpoint and shift."""
        return sweeps_of(self.rows)

    @cached_property
    def by_method(self) -> dict[str, list[Sweep]]:
        """Sweeps by method, hypernetworks first, then by kind and name."""
        order = ("hypernetwork", "weights", "adjustment")
        groups = by_method(self.sweeps)
        return dict(sorted(groups.items(), key=lambda item: (order.index(item[1][0].first.kind), item[0])))

    @property
    def kinds(self) -> dict[str, str]:
        """What the preference of each method is over, by method."""
        return {method: group[0].first.kind for method, group in self.by_method.items()}

    def of(self, method: str, shift: str) -> list[Sweep]:
        """Return the sweeps of a method's checkpoints on a shift."""
        return [sweep for sweep in self.by_method[method] if sweep.first.shift == shift]

    def common(self, method: str) -> list[Sweep]:
        """Return the sweeps of a method on the shifts that all methods share."""
        return [sweep for sweep in self.by_method[method] if sweep.first.shift in self.shifts]


def by_method(sweeps: Sequence[Sweep]) -> dict[str, list[Sweep]]:
    """Return sweeps by method, in the order in which methods are first met."""
    groups: dict[str, list[Sweep]] = {}
    for sweep in sweeps:
        groups.setdefault(sweep.first.method, []).append(sweep)
    return groups


def by_seed(sweeps: Sequence[Sweep], value: Callable[[Sweep], float | None]) -> list[float | None]:
    """Return the mean over its shifts of a value, for each checkpoint of one method; None where a shift has none."""
    groups: dict[str, list[float | None]] = {}
    for sweep in sweeps:
        groups.setdefault(sweep.first.checkpoint_sha256, []).append(value(sweep))
    return [mean_of(values) for values in groups.values()]


def reached(sweeps: Sequence[Sweep], name: str) -> list[float | None]:
    """Return the lowest and the highest accuracy (top1, many, ...) on the lattice, means over checkpoints."""

    def end(place: int) -> float | None:
        return mean_of(by_seed(sweeps, lambda sweep: None if (ends := sweep.reach(name)) is None else ends[place]))

    return [end(0), end(1)]


def usable(group: Sequence[Sweep]) -> list[str]:
    """Return the ways of choosing that every sweep has."""
    return [choice for choice in CHOICES if all(choice in sweep.chosen for sweep in group)]


def top1(group: Sequence[Sweep], choice: str, shift: str) -> float | None:
    """Return the top-1 of a way of choosing on a shift, mean over checkpoints."""
    return mean_of([sweep.chosen[choice].top1 for sweep in group if sweep.first.shift == shift])
