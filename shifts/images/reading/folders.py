"""Image folders: `train/CLASS/any/depth/1.png`. Splits and classes are where files lie, whatever they are called.

Read are split folders, or zip archives called like splits, with class folders. Every image file under a class folder is
of that class; what is left out is said with its count.
"""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from shifts.common.notes import Note
from shifts.images.imageset import FileStore
from shifts.images.reading.found import BESIDE, HIDDEN, NO_IMAGES, STRAY, FoundSplit, LeftOut
from shifts.images.reading.numbering import Labels
from shifts.images.reading.paths import SUFFIXES, Parts, files_in, files_under, is_hidden, is_image
from shifts.images.reading.splits import is_plain, named_splits

LAYOUT = "make train/CLASS/*.png and test/CLASS/*.png"


@dataclass(frozen=True)
class ZipStore:
    """Images as members of a zip archive."""

    archive: Path
    members: tuple[str, ...]

    @cached_property
    def _opened(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.archive)

    def __getstate__(self) -> dict[str, Any]:
        return {"archive": self.archive, "members": self.members}

    def read(self, indices: Sequence[int]) -> list[bytes]:
        try:
            return [self._opened.read(self.members[index]) for index in indices]
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise OSError(f"{self.archive}: {error}") from error

    def where(self, index: int) -> str:
        return f"{self.archive.name}/{self.members[index]}"


@dataclass(frozen=True)
class Tree:
    """The files of a data folder that can be seen, and those of its zip archives."""

    folder: Path
    files: tuple[Parts, ...]
    archives: Mapping[str, Mapping[Parts, str]]


def tree_of(folder: Path, left: LeftOut) -> Tree:
    """Return what can be seen in a data folder, entering folders that hold nothing but one folder. Raises BadInput."""
    seen = []
    for parts in files_under(folder):
        if is_hidden(parts):
            left.add(HIDDEN, parts)
        else:
            seen.append(parts)
    folder, seen = _unwrapped(folder, seen)
    zips = {parts[0]: files_in(folder / parts[0]) for parts in seen if len(parts) == 1 and _suffix(parts) == ".zip"}
    return Tree(folder, tuple(seen), zips)


def read_folder(folder: Path, *, splits: bool = True) -> tuple[dict[str, FoundSplit], list[Note]]:
    """Return the splits of an image folder, none where it is no image folder, and notes on what is left out.

    splits: False takes the folders of `folder` for classes of one split, `all`. Raises BadInput where files contradict
    one another.
    """
    left = LeftOut()
    tree = tree_of(folder, left)
    if not splits:
        return _in_classes(tree, {"all": ()}, left), left.notes()
    return _split_folders(tree, left) or _split_archives(tree, left), left.notes()


def _suffix(parts: Parts) -> str:
    return Path(parts[-1]).suffix.lower()


def _unwrapped(folder: Path, files: list[Parts]) -> tuple[Path, list[Parts]]:
    """Enter folders that hold nothing but one folder, as archives leave them; a split's folder is not entered."""
    while files:
        tops = {parts[0] for parts in files}
        if len(tops) > 1 or is_plain(next(iter(tops))) or any(len(parts) < 3 for parts in files):
            break
        (top,) = tops
        folder, files = folder / top, [parts[1:] for parts in files]
    return folder, files


def _images(tree: Tree, files: Iterable[Parts], left: LeftOut) -> list[Parts]:
    """Return the image files among some; others are counted as left out."""
    images = []
    for parts in files:
        if is_image(tree.folder.joinpath(*parts)):
            images.append(parts)
        else:
            left.add(NO_IMAGES, parts)
    return images


# ------------------------------------------------------------------------------------------ folders of classes


def _split_folders(tree: Tree, left: LeftOut) -> dict[str, FoundSplit]:
    """Return the splits of `train/CLASS/...`; none where no split's folder has class folders."""
    deep = {parts[0] for parts in tree.files if len(parts) > 2}
    holding = {top for top in deep if any(_holds_image(tree, parts) for parts in tree.files if parts[0] == top)}
    plain = named_splits([top for top in holding if is_plain(top)], str(tree.folder))
    chosen = plain if "train" in plain else named_splits(holding, str(tree.folder))
    if "train" not in plain and len(chosen) < 2:
        return {}  # One name with a split's word in it, such as a class `train_station`, says nothing.
    chosen = named_splits(holding, str(tree.folder)) | plain
    return _in_classes(tree, {split: (name,) for split, name in chosen.items()}, left)


def _holds_image(tree: Tree, parts: Parts) -> bool:
    return len(parts) > 2 and is_image(tree.folder.joinpath(*parts))


def _in_classes(tree: Tree, places: Mapping[str, Parts], left: LeftOut) -> dict[str, FoundSplit]:
    """Return the splits whose class folders lie at `places`."""
    taken = {place[0] for place in places.values() if place}
    for parts in tree.files:
        if places != {"all": ()} and parts[0] not in taken:
            left.add(BESIDE, parts)
    inside = {split: [parts for parts in tree.files if parts[: len(place)] == place] for split, place in places.items()}
    if all(_is_doubled(place, inside[split]) for split, place in places.items()):
        places = {split: (*place, place[-1]) for split, place in places.items()}
    splits = {}
    for split, place in places.items():
        depth = len(place)
        images = []
        for parts in _images(tree, inside[split], left):
            if len(parts) <= depth + 1 or parts[:depth] != place:
                left.add(STRAY, parts)
            else:
                images.append(parts)
        if not images:
            continue
        classes = [parts[depth] for parts in images]
        where = "/".join((*place, "CLASS"))
        paths = tuple("/".join(parts) for parts in images)
        labels = Labels.from_names(classes, f"folders {where}")
        splits[split] = FoundSplit(labels, FileStore(tree.folder, paths), f"{where}/*")
    return splits


def _is_doubled(place: Parts, files: Sequence[Parts]) -> bool:
    """Return whether a split's folder holds one folder of its own name and nothing else, as archives leave it."""
    return bool(place) and all(len(parts) > len(place) + 2 and parts[len(place)] == place[-1] for parts in files)


# ------------------------------------------------------------------------------------------------ zip archives


def _split_archives(tree: Tree, left: LeftOut) -> dict[str, FoundSplit]:
    """Return the splits of `train.zip` and `test.zip`, whose members are `CLASS/...`; none where there are none."""
    stems = {Path(name).stem: name for name in tree.archives}
    chosen = named_splits(stems, str(tree.folder))
    if "train" not in chosen:
        return {}
    for parts in tree.files:
        if parts[0] not in {stems[stem] for stem in chosen.values()}:
            left.add(BESIDE, parts)
    splits = {}
    for split, stem in chosen.items():
        archive, members = stems[stem], tree.archives[stems[stem]]
        paths = [parts for parts in sorted(members) if not is_hidden(parts)]
        for parts in members:
            if is_hidden(parts):
                left.add(HIDDEN, (archive, *parts))
        depth = 1 if paths and all(len(parts) > 2 and parts[0] == stem for parts in paths) else 0
        images = []
        for parts in paths:
            if _suffix(parts) not in SUFFIXES:
                left.add(NO_IMAGES, (archive, *parts))
            elif len(parts) < depth + 2:
                left.add(STRAY, (archive, *parts))
            else:
                images.append(parts)
        if images:
            labels = Labels.from_names([parts[depth] for parts in images], f"folders in {archive}")
            store = ZipStore(tree.folder / archive, tuple(members[parts] for parts in images))
            splits[split] = FoundSplit(labels, store, f"{archive}/CLASS/*")
    return splits
