"""Data, training set and recipe in words, and the rows of a study that share them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from harness.records.rows import Row
from harness.records.study_rows import StudyRow
from harness.show.shifts import shift_order
from harness.show.text import counted
from shifts.sets.training import in_words

R = TypeVar("R", bound=StudyRow)
S = TypeVar("S", bound="Setting[Any]")

SHARED = ("dataset", "train_fingerprint", "train_counts_sha256", "recipe_sha256")
"""Row fields that are the same throughout a setting."""


@dataclass(frozen=True)
class Setting(Generic[R]):
    """The rows of a study on one dataset, training set and recipe."""

    rows: tuple[R, ...]

    @cached_property
    def methods(self) -> list[str]:
        """Methods by name."""
        return sorted({row.method for row in self.rows})

    @cached_property
    def shifts(self) -> list[str]:
        """Shifts that every method has, from forward to backward, then the others."""
        of_method = [{row.shift for row in self.rows if row.method == method} for method in self.methods]
        return sorted(set.intersection(*of_method), key=shift_order)

    @property
    def title(self) -> str:
        """The setting in words, with the number of train seeds."""
        first = self.rows[0]
        seeds = counted(len({row.train_seed for row in self.rows}), "train seed")
        return f"{first.dataset}, {first.train_n:,} training images, {named_recipe(first.recipe)}, {seeds}"


def settings_of(rows: Iterable[R], kind: Callable[[tuple[R, ...]], S], *further: str) -> list[S]:
    """Group rows by setting. Rows that differ in a field named by `further` are kept apart too."""
    groups: dict[tuple[Any, ...], list[R]] = defaultdict(list)
    for row in rows:
        groups[tuple(getattr(row, name) for name in (*SHARED, *further))].append(row)
    return [kind(tuple(group)) for _, group in sorted(groups.items(), key=lambda item: str(item[0]))]


def leads(settings: Sequence[S], lead: Callable[[S], str]) -> str:
    """Join the sentences on each setting. Where there are several, each begins with the title of its setting."""
    return " ".join((f"{one.title}: " if len(settings) > 1 else "") + lead(one) for one in settings)


def train_words(row: Row) -> str:
    """Return the training set in words. Of somebody else's model only the imbalance is known."""
    if row.train_profile is None or row.train_rule is None:
        return "natural" if row.train_imbalance is None else f"imbalance {row.train_imbalance:g}"
    return in_words(row.train_imbalance, row.train_profile, row.train_rule, row.train_subset_seed or 0)


def imbalance_words(imbalance: float | None) -> str:
    """Return `train imbalance 100`, or `natural train counts` for a training set that is taken as it is."""
    return "natural train counts" if imbalance is None else f"train imbalance {imbalance:g}"


def recipe_words(row: Row) -> str:
    """Return the recipe in words, with the choice of the checkpoint and the precision if they are unusual."""
    parts = [named_recipe(row.recipe)]
    if row.selection != "last":
        parts.append(f"checkpoints chosen {row.selection}")
    if row.evidence_precision not in (None, "fp32"):
        parts.append(f"evidence in {row.evidence_precision}")
    return ", ".join(parts)


def named_recipe(recipe: str | None) -> str:
    """Return `recipe quick`; somebody else's model has none."""
    return "somebody else's model" if recipe is None else f"recipe {recipe}"
