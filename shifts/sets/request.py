"""Which data and which test distributions are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shifts.images.catalog import Dataset, load
from shifts.labels.shift import RULES, Rule, Shift, expand_shifts
from shifts.sets.training import TrainingSet, training_set


@dataclass(frozen=True)
class DataRequest:
    """A dataset, and the training set that is drawn from it; the options of the same names say what each is."""

    dataset: str = "embedded"
    data_dir: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    ids: str | None = None
    config: str | None = None
    test_split: str | None = None
    test_fraction: float | None = None
    train_imbalance: float | Literal["natural"] | None = None
    profile: str = "exp"
    draw_rule: Rule = RULES[0]
    train_subset_seed: int = 0

    def load(self) -> Dataset:
        """Load the dataset. Raises BadInput."""
        return load(
            self.dataset,
            self.data_dir,
            self.image_column,
            self.label_column,
            self.ids,
            config=self.config,
            test_split=self.test_split,
            test_fraction=self.test_fraction,
        )

    def training_set(self, dataset: Dataset) -> TrainingSet:
        """Draw the training set from the dataset. Raises BadInput."""
        return training_set(dataset, self.train_imbalance, self.profile, self.draw_rule, self.train_subset_seed)


@dataclass(frozen=True)
class ShiftRequest:
    """Test distributions by their names; `imbalance` is for kinds that were named without a ratio."""

    shift: tuple[str, ...] | None = None
    imbalance: tuple[float, ...] | None = None
    shift_list: tuple[str, ...] = ()

    def shifts(self) -> tuple[list[Shift], list[str]]:
        """Return the shifts without duplicates, and notes for the user. Raises BadInput."""
        kinds: Sequence[str] = self.shift or (() if self.shift_list else ("backward_lt",))
        shifts, notes = expand_shifts(list(kinds), None if self.imbalance is None else list(self.imbalance))
        shifts += [Shift("list", path=path) for path in self.shift_list]
        return list(dict.fromkeys(shifts)), notes
