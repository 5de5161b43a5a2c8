"""Datasets and shifts that are lists of images: `path label` or `index label`, one image a line."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int

from shifts.errors import BadInput
from shifts.imageset import FileStore, ImageSet


def read_list(path: Path) -> list[tuple[str, int]]:
    """(path or index, label) of each line; the label is the last word. Raises BadInput naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot read the list file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text file") from error
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        head, _, label = line.strip().rpartition(" ")
        if not head or not label.isdecimal():
            raise BadInput(f"{path}, line {number}: {line.strip()!r} is not `path label` or `index label`")
        entries.append((head.strip(), int(label)))
    if not entries:
        raise BadInput(f"the list file {path} is empty")
    return entries


def load_lists(name: str, root: Path, lists: Mapping[str, str]) -> dict[str, ImageSet]:
    """`ImageSet`s of a list-file dataset by split; images are read when asked for.

    lists: file by split; train and test must be there, validation may be missing. Raises BadInput.
    """
    if not root.is_dir():
        raise BadInput(f"no such data folder: {root}")
    for split, file in lists.items():
        if split != "validation" and not (root / file).is_file():
            raise BadInput(f"{name}: {root} holds no {file}; give the folder of the list files with --data-dir")
    found = {split: read_list(root / file) for split, file in lists.items() if (root / file).is_file()}
    classes = max(label for _, label in found["train"]) + 1
    class_names = tuple(str(c) for c in range(classes))
    sets = {}
    for split, entries in found.items():
        file = lists[split]
        for number, (path, label) in enumerate(entries, start=1):
            if label >= classes:
                raise BadInput(f"{name}: label {label} of {file}, entry {number} is out of range 0..{classes - 1}")
            if number == 1 and not (root / path).is_file():
                raise BadInput(f"{name}: {file} names {path}, which is not under {root}")
        paths = tuple(path for path, _ in entries)
        labels = np.asarray([label for _, label in entries], dtype=np.int64)
        sets[split] = ImageSet(name, split, labels, class_names, FileStore(root, paths), paths)
    return sets


def list_indices(path: Path, pool: ImageSet) -> Int[np.ndarray, " drawn"]:
    """Indices into `pool` of a shift's list, in the list's order; int64.

    Lines are `path label` for list-file data, `index label` otherwise. Raises BadInput for an image that is not
    in the pool or stands twice in the list, and for a label that is not the pool's.
    """
    names = pool.paths if pool.paths is not None else [str(index) for index in range(len(pool))]
    position = {name: index for index, name in enumerate(names)}
    indices = []
    seen = set()
    for head, label in read_list(path):
        index = position.get(head, -1)
        if index < 0:
            what = "a path" if pool.paths is not None else f"an index below {len(pool)}"
            raise BadInput(f"{path}: {head} is not {what} of the {pool.name} {pool.split} pool")
        if index in seen:
            raise BadInput(f"{path}: {head} stands there twice")
        if pool.labels[index] != label:
            raise BadInput(f"{path}: label {label} of {head}; the pool says {pool.labels[index]}")
        seen.add(index)
        indices.append(index)
    return np.asarray(indices, dtype=np.int64)
