"""Which name means which split, for folders and files whose place says that they are one."""

import re
from collections.abc import Iterable

from shifts.common.errors import BadInput

WORDS = {
    "train": ("train", "training", "trainset"),
    "test": ("test", "testing", "testset", "eval", "evaluation"),
    "validation": ("validation", "valid", "val", "dev", "development", "valset"),
}
"""Words for each split, the usual one first. A word counts only where a split's name stands, never in other paths."""


def split_of(name: str) -> str | None:
    """Return the split that a folder's or a file's name stands for, or None.

    The whole name may be the word (`train`, `Test`), or exactly one split's words may stand in it, set apart by
    digits or signs (`seg_train`, `val2017`).
    """
    words = set(re.split(r"[\W\d_]+", name.casefold()))
    splits = [split for split, known in WORDS.items() if words & set(known)]
    return splits[0] if len(splits) == 1 else None


def is_plain(name: str) -> bool:
    """Return whether the name is a split's word and nothing else."""
    return any(name.casefold() in known for known in WORDS.values())


def named_splits(names: Iterable[str], where: str) -> dict[str, str]:
    """Return the name of each split among `names`; a name that is the bare word goes before `my_train` and the like.

    Raises BadInput where two names stand for one split.
    """
    by_split: dict[str, list[str]] = {}
    for name in sorted(names):
        split = split_of(name)
        if split is not None:
            by_split.setdefault(split, []).append(name)
    chosen = {}
    for split, candidates in by_split.items():
        plain = [name for name in candidates if is_plain(name)] or candidates
        if len(plain) > 1:
            raise BadInput(f"{where}: {' and '.join(plain[:2])} are both the {split} split; keep one of them there")
        chosen[split] = plain[0]
    return chosen
