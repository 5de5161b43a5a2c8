"""Labels of single-label splits: their names or numbers as read, and one numbering of the classes for all splits."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from shifts.common.errors import BadInput
from shifts.common.notes import Note


@dataclass(frozen=True)
class Labels:
    """Labels of one split as they were read: int64 `values` [N], into `names` or, where that is None, plain numbers.

    `names` are in Unicode's composed form (NFC), in the order in which classes are numbered; `origin` says in words
    where the labels stood.
    """

    names: tuple[str, ...] | None
    values: Int[np.ndarray, " images"]
    origin: str

    @classmethod
    def from_names(cls, names: Sequence[str], origin: str, order: Sequence[str] | None = None) -> "Labels":
        """Give each name a number, in the order given or as sorted text. Raises BadInput as `composed`."""
        composed_names = composed(list(dict.fromkeys(names)) if order is None else list(order), origin)
        ordered = sorted(set(composed_names.values())) if order is None else list(composed_names.values())
        number = {name: index for index, name in enumerate(ordered)}
        values = np.asarray([number[composed_names[name]] for name in names], dtype=np.int64)
        return cls(tuple(ordered), values, origin)

    @classmethod
    def from_values(cls, values: Sequence[Any], origin: str, split: str) -> "Labels":
        """Take names, whole numbers or truth values. Raises BadInput for missing labels, other kinds and mixtures."""
        missing = sum(value is None for value in values)
        if missing:
            raise BadInput(f"{missing:,} images of the {split} split have no label ({origin})")
        kinds = {type(value) for value in values}
        if kinds == {bool}:
            return cls.from_names([str(value) for value in values], origin, ("False", "True"))
        if kinds == {str}:
            return cls.from_names(values, origin)
        if kinds == {int}:
            return cls(None, np.asarray(values, dtype=np.int64), origin)
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise BadInput(f"the labels of the {split} split ({origin}) are {names}, neither names nor whole numbers")


def composed(names: Sequence[str], origin: str) -> dict[str, str]:
    """Return each name's composed form (NFC). Raises BadInput where two names differ in nothing else."""
    forms = {name: unicodedata.normalize("NFC", name) for name in names}
    if len(set(forms.values())) < len(forms):
        seen: dict[str, str] = {}
        for name, form in forms.items():
            if form in seen:
                raise BadInput(f"two classes ({origin}) are both called {form!r}, in two Unicode forms; rename one")
            seen[form] = name
    return forms


LARGEST_NUMBER = 1_000_000
"""A label column with larger numbers holds identifiers, not classes."""


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset in order. `numbered`: their labels are whole numbers, of which `names` are the text."""

    names: tuple[str, ...]
    numbered: bool

    def number(self, name: str, split: str, labels: Labels) -> Int[np.ndarray, " images"]:
        """Return a split's labels as int64 [N] in 0..C-1, matched by name.

        Raises BadInput where the split has numbers and the classes names, or the other way round, and for a label
        that is none of the classes.
        """
        if (labels.names is None) != self.numbered:
            kinds = ["numbers" if numbered else "names" for numbered in (self.numbered, not self.numbered)]
            raise BadInput(
                f"{name}: labels of train are {kinds[0]}, those of {split} are {kinds[1]} ({labels.origin}); "
                "all must be of one kind"
            )
        if self.numbered:
            known = np.asarray([int(number) for number in self.names], dtype=np.int64)
            places = np.searchsorted(known, labels.values).clip(max=len(known) - 1)
            values = np.where(known[places] == labels.values, places, -1)
        else:
            index = {class_name: c for c, class_name in enumerate(self.names)}
            assert labels.names is not None
            values = np.asarray([index.get(class_name, -1) for class_name in labels.names], dtype=np.int64)
            values = values[labels.values]
        wrong = np.flatnonzero(values < 0)
        if len(wrong):
            first = int(wrong[0])
            number = labels.values[first]
            if labels.names is None and not 0 <= number <= int(self.names[-1]):
                raise BadInput(f"{name}: label {number} of {split} image {first} is out of range 0..{self.names[-1]}")
            label = number if labels.names is None else repr(labels.names[number])
            raise BadInput(f"{name}: label {label} of {split} image {first} does not occur in the train split")
        return values


def one_numbering(
    name: str, train: Labels, split: str, test: Labels
) -> tuple[Classes, dict[str, Int[np.ndarray, " images"]], list[Note]]:
    """Return the classes, int64 labels in 0..C-1 of `train` and of `split`, and a note on classes that are left out.

    The classes are those of train in its order; `test` are the labels of `split`, matched by name. A class without an
    image in either is left out. Raises BadInput as `Classes.number`, and for numbers that cannot be classes.
    """
    if train.names is None:
        largest = int(train.values.max())
        if largest > LARGEST_NUMBER:
            raise BadInput(f"{name}: label {largest} is no class number ({train.origin}); name another --label-column")
        known = Classes(tuple(map(str, range(largest + 1))), numbered=True)
    else:
        known = Classes(train.names, numbered=False)
    values = {"train": known.number(name, "train", train), split: known.number(name, split, test)}
    present = np.zeros(len(known.names), dtype=bool)
    for labels in values.values():
        present[labels] = True
    if present.all():
        return known, values, []
    absent = [known.names[index] for index in np.flatnonzero(~present)]
    text = f"left out: classes without any image ({len(absent):,}, such as {absent[0]})"
    kept = tuple(class_name for class_name, there in zip(known.names, present, strict=True) if there)
    place = np.cumsum(present) - 1
    numbered = {role: place[labels] for role, labels in values.items()}
    return Classes(kept, known.numbered), numbered, [Note("absent", len(absent), text)]
