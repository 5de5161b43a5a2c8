"""Datasets and shifts that are lists of images: `path label` or `index label`, one image a line."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int

from shifts.common.errors import BadInput
from shifts.images.imageset import FileStore, ImageSet
from shifts.images.reading.found import FoundSplit
from shifts.images.reading.numbering import Labels


def read_list(path: Path) -> list[tuple[str, int]]:
    """Return (path or index, label) of each line; the label is the last word. Raises BadInput naming file and line."""
    return [(head, label) for _, head, label in _lines(path)]


def _lines(path: Path) -> list[tuple[int, str, int]]:
    """Return number, head and label of each line that is not empty."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"cannot read the list file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text file (UTF-8)") from error
    entries = []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not line.strip():
            continue
        words = line.strip().rsplit(None, 1)
        if len(words) < 2 or not (words[1].isascii() and words[1].isdecimal()):
            raise BadInput(f"{path}, line {number}: {line.strip()!r} is not `path label` or `index label`")
        entries.append((number, words[0], int(words[1])))
    if not entries:
        raise BadInput(f"the list file {path} is empty")
    return entries


def load_lists(
    name: str, root: Path, lists: Mapping[str, str]
) -> tuple[dict[str, FoundSplit], dict[str, tuple[str, ...]]]:
    """Return the splits of a list-file dataset, and the paths of each; images are read when asked for.

    lists: file by split; train and test must be there, validation may be missing. Raises BadInput, naming file and
    line, also for a path that stands twice, in one list or in two, and for one that is no file.
    """
    if not root.is_dir():
        raise BadInput(f"no such data folder: {root}")
    for split, file in lists.items():
        if split != "validation" and not (root / file).is_file():
            raise BadInput(f"{name}: {root} holds no {file}; give the folder of the list files with --data-dir")
    found, paths_of = {}, {}
    seen: dict[str, str] = {}
    for split, file in lists.items():
        if not (root / file).is_file():
            continue
        entries = _lines(root / file)
        for number, path, _ in entries:
            where = f"{file}, line {number}"
            place = os.path.normpath(path)
            if place in seen:
                raise BadInput(f"{name}: {where}: {path} stands in {seen[place]} too")
            seen[place] = where
        _, first, _ = entries[0]
        if not (root / first).is_file():
            raise BadInput(f"{name}: {file} names {first}, which is not under {root}")
        paths = tuple(path for _, path, _ in entries)
        labels = Labels(None, np.asarray([label for *_, label in entries], dtype=np.int64), f"the lines of {file}")
        found[split], paths_of[split] = FoundSplit(labels, FileStore(root, paths), file), paths
    return found, paths_of


def list_indices(path: Path, pool: ImageSet) -> Int[np.ndarray, " drawn"]:
    """Return the indices into `pool` of a shift's list, in the list's order; int64.

    Lines are `path label` for list-file data, `index label` otherwise. Raises BadInput for an image that is not
    in the pool or stands twice in the list, and for a label that is not the pool's.
    """
    listed = pool.paths is not None
    names = [os.path.normpath(name) for name in pool.paths or ()] if listed else list(map(str, range(len(pool))))
    position = {name: index for index, name in enumerate(names)}
    indices = []
    seen = set()
    for head, label in read_list(path):
        index = position.get(os.path.normpath(head) if listed else head, -1)
        if index < 0:
            what = "a path" if listed else f"an index below {len(pool)}"
            raise BadInput(f"{path}: {head} is not {what} of the {pool.name} {pool.split} pool")
        if index in seen:
            raise BadInput(f"{path}: {head} stands there twice")
        # The classes of list-file data are called by their numbers in the lists, of which some may be left out.
        own = pool.class_names[pool.labels[index]] if listed else str(pool.labels[index])
        if own != str(label):
            raise BadInput(f"{path}: label {label} of {head}; the pool says {own}")
        seen.add(index)
        indices.append(index)
    return np.asarray(indices, dtype=np.int64)
