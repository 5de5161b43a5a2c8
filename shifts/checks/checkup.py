"""The check-up of a dataset before a long training: what was understood, and what is odd, one line each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from shifts.checks.facts import Facts, Summary, facts
from shifts.common.errors import BadInput
from shifts.common.notes import Note
from shifts.images.catalog import Dataset
from shifts.images.imageset import ImageSet

TINY = 5
"""A class with fewer images than that is tiny."""


@dataclass(frozen=True)
class CheckUp:
    """The facts about the splits by role (train, test, validation), and everything that is odd or changes numbers."""

    facts: Mapping[str, Facts]
    notes: tuple[Note, ...]


def check_up(dataset: Dataset, decode: bool = True) -> CheckUp:
    """Return the check-up of a dataset. Every image is decoded once, and that is remembered (`shifts.checks.facts`).

    decode: False uses what is remembered and decodes nothing.
    """
    facts_by_role = {role: facts(images, decode) for role, images in _splits(dataset).items()}
    known = {role: split_facts for role, split_facts in facts_by_role.items() if split_facts is not None}
    notes = [
        *dataset.notes,
        *_undecodable(known),
        *_equal(dataset, known),
        *_appearance(dataset, known),
        *_classes(dataset),
    ]
    return CheckUp(known, tuple(notes))


def checked(dataset: Dataset, decode: bool = True) -> Dataset:
    """Return the dataset with all its notes. Raises BadInput for images that cannot be decoded, before any training."""
    notes = check_up(dataset, decode).notes
    broken = [note.text for note in notes if note.kind == "undecodable"]
    if broken:
        raise BadInput("; ".join(broken))
    return replace(dataset, notes=notes)


def _splits(dataset: Dataset) -> dict[str, ImageSet]:
    splits = {"train": dataset.train, "test": dataset.test}
    return splits if dataset.validation is None else splits | {"validation": dataset.validation}


def _undecodable(known: Mapping[str, Facts]) -> list[Note]:
    notes = []
    for split_facts in known.values():
        if split_facts.errors:
            first = min(split_facts.errors)
            text = f"images that cannot be decoded: {len(split_facts.errors):,}; {split_facts.errors[first]}"
            notes.append(Note("undecodable", len(split_facts.errors), text))
    return notes


# ----------------------------------------------------------------------------------------------- equal images


@dataclass(frozen=True)
class _Group:
    """Images with the same pixels: (role, index) of each."""

    members: tuple[tuple[str, int], ...]

    def roles(self) -> set[str]:
        return {role for role, _ in self.members}


def _equal(dataset: Dataset, known: Mapping[str, Facts]) -> list[Note]:
    """Return notes on equal pixels across splits, within a split, and under two labels."""
    splits = _splits(dataset)
    groups = _groups(known)
    across = [group for group in groups if len(group.roles()) > 1]
    notes = []
    if across:
        text = f"equal images in different splits: {len(across):,} groups, {_example(across[0], splits)}"
        notes.append(Note("equal_across", len(across), text))
    for role in known:
        within = [group for group in groups if sum(own == role for own, _ in group.members) > 1]
        if within:
            text = f"equal images within the {splits[role].split} split: {len(within):,} groups, "
            text += _example(_Group(tuple(m for m in within[0].members if m[0] == role)), splits)
            notes.append(Note("equal_within", len(within), text))
    contrary = [group for group in groups if len({_label(splits, member) for member in group.members}) > 1]
    if contrary:
        text = f"equal images under different labels: {len(contrary):,} groups, {_example(contrary[0], splits, True)}"
        notes.append(Note("two_labels", len(contrary), text))
    return notes


def _groups(known: Mapping[str, Facts]) -> list[_Group]:
    """Return groups of two or more decodable images with the same pixels, in the order of their first member."""
    if not known:
        return []
    roles = [(role, index) for role, split_facts in known.items() for index in range(len(split_facts.sizes))]
    pixels = np.concatenate([split_facts.pixels for split_facts in known.values()])
    decoded = np.concatenate([split_facts.sizes[:, 0] > 0 for split_facts in known.values()])
    keys = np.ascontiguousarray(pixels).view([("", np.uint8)] * pixels.shape[1]).ravel()
    _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero((sizes[group] > 1) & decoded)
    members: dict[int, list[tuple[str, int]]] = {}
    for place in repeated.tolist():
        members.setdefault(int(group[place]), []).append(roles[place])
    return [_Group(tuple(listed)) for listed in members.values() if len(listed) > 1]


def _label(splits: Mapping[str, ImageSet], member: tuple[str, int]) -> object:
    label = splits[member[0]].labels[member[1]]
    return int(label) if label.ndim == 0 else tuple(label.tolist())


def _example(group: _Group, splits: Mapping[str, ImageSet], labels: bool = False) -> str:
    """Name two images of a group: `train image 3 and test image 7 for one`, with their classes where those differ."""
    first = group.members[0]
    others = [m for m in group.members if _label(splits, m) != _label(splits, first)] if labels else []
    other_splits = [m for m in group.members if m[0] != first[0]]
    second = (others or other_splits or group.members[1:])[0]
    return " and ".join(_member(member, splits, labels) for member in (first, second)) + " for one"


def _member(member: tuple[str, int], splits: Mapping[str, ImageSet], labels: bool) -> str:
    role, index = member
    images = splits[role]
    where = images.store.where(index)
    text = f"{images.split} image {index}" + (f" ({where})" if where else "")
    if labels and not images.multi_label:
        text += f" of {images.class_names[images.labels[index]]}"
    return text


# ------------------------------------------------------------------------------------------ appearance, classes


def _appearance(dataset: Dataset, known: Mapping[str, Facts]) -> list[Note]:
    notes = []
    for role, split_facts in known.items():
        split, summary = _splits(dataset)[role].split, split_facts.summary
        if summary.turned:
            text = f"{summary.turned:,} {split} images are stored turned and taken as seen (EXIF), "
            notes.append(Note("turned", summary.turned, f"{text}image {summary.first_turned} for one", "told"))
        flat = [name for name, low, high in zip("RGB", summary.low, summary.high, strict=True) if low == high]
        if flat:
            text = f"no spread in the {split} split: channels {', '.join(flat)} have one value everywhere"
            notes.append(Note("no_spread", len(flat), text, "odd"))
    train, test = (_colour(known[role].summary) if role in known else None for role in ("train", "test"))
    if train is not None and test is not None and train != test:
        notes.append(Note("modes", 0, f"train images are {train}, test images {test}", "odd"))
    return notes


def _colour(summary: Summary) -> str | None:
    """Return whether a split's images are grey, colour or both; None where none can be decoded."""
    grey = sum(count for mode, count in summary.modes.items() if mode in ("1", "L", "LA", "La"))
    total = sum(summary.modes.values())
    if not total:
        return None
    return "grey" if grey == total else "grey and colour" if grey else "colour"


def _classes(dataset: Dataset) -> list[Note]:
    notes = []
    for images in _splits(dataset).values():
        counts = images.class_counts()
        tiny = np.flatnonzero(counts < TINY)
        if len(tiny):
            least = tiny[counts[tiny].argmin()]
            text = f"tiny classes in the {images.split} split: {len(tiny):,} with fewer than {TINY} images, "
            text += f"{images.class_names[least]} ({counts[least]}) for one"
            notes.append(Note("tiny", len(tiny), text, "odd"))
    names = dataset.class_names
    if all(name.isascii() and name.isdecimal() for name in names) and list(names) != sorted(names, key=int):
        text = f"classes stand in the order of text: {', '.join(names[:4])}, ..."
        notes.append(Note("order", len(names), text, "odd"))
    return notes


def sizes_of(split_facts: Facts, indices: Int[np.ndarray, " images"] | None = None) -> Int[np.ndarray, "sizes 2"]:
    """Return the different sizes (width, height) of a split's images, or of some of them, sorted."""
    sizes: Int[np.ndarray, "images 2"] = split_facts.sizes if indices is None else split_facts.sizes[indices]
    decoded: Bool[np.ndarray, " images"] = sizes[:, 0] > 0
    return np.unique(sizes[decoded], axis=0)
