"""Stored preference sweeps as the report groups them: one dataset, training set and recipe at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.show.settings import named_recipe
from harness.show.shifts import shift_order
from harness.studies.sweep.rows import CHOICES, Sweep
from harness.studies.sweep.text import by_method


@dataclass(frozen=True)
class Setting:
    """The sweeps of one dataset, training set and recipe."""

    sweeps: tuple[Sweep, ...]

    @cached_property
    def methods(self) -> dict[str, list[Sweep]]:
        """Sweeps by method, hypernetworks first, then by kind and name."""
        order = ("hypernetwork", "weights", "adjustment")
        groups = by_method(self.sweeps)
        ranked = sorted(groups.items(), key=lambda item: (order.index(item[1][0].first.kind), item[0]))
        return dict(ranked)

    @cached_property
    def shifts(self) -> list[str]:
        """Shifts that every method was swept on, forward before uniform before backward, larger ratios outermost."""
        common = set.intersection(*({sweep.first.shift for sweep in group} for group in self.methods.values()))
        return sorted(common, key=shift_order)

    @property
    def title(self) -> str:
        """In words, for captions."""
        first = self.sweeps[0].first
        seeds = len({sweep.first.train_seed for sweep in self.sweeps})
        many = f"{seeds} train seeds" if seeds > 1 else "one train seed"
        return f"{first.dataset}, {first.train_n:,} training images, {named_recipe(first.recipe)}, {many}"

    def of(self, method: str, shift: str) -> list[Sweep]:
        """The sweeps of a method's checkpoints on a shift."""
        return [sweep for sweep in self.methods[method] if sweep.first.shift == shift]

    def common(self, method: str) -> list[Sweep]:
        """The sweeps of a method on the shifts that all methods share."""
        return [sweep for sweep in self.methods[method] if sweep.first.shift in self.shifts]


def settings_of(sweeps: Sequence[Sweep]) -> list[Setting]:
    """Sweeps by dataset, training set and recipe; a group without a shift that all its methods share is left out."""
    groups: dict[tuple[str | None, ...], list[Sweep]] = {}
    for sweep in sweeps:
        row = sweep.first
        key = row.dataset, row.train_fingerprint, row.train_counts_sha256, row.recipe_sha256
        groups.setdefault(key, []).append(sweep)
    found = [Setting(tuple(group)) for _, group in sorted(groups.items(), key=lambda item: str(item[0]))]
    return [setting for setting in found if setting.shifts]


def usable(group: Sequence[Sweep]) -> list[str]:
    """Ways of choosing that every sweep has."""
    return [choice for choice in CHOICES if all(choice in sweep.chosen for sweep in group)]
