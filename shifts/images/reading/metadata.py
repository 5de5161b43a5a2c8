"""Image folders whose labels stand in files: a `metadata.csv` or `.jsonl` beside the images or above the split folders.

Its column `file_name` names the images, relative to the file. Splits are the folders in which the images lie.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shifts.common.errors import BadInput
from shifts.common.notes import Note
from shifts.images.reading.folders import LAYOUT, Tree, tree_of
from shifts.images.reading.found import BESIDE, NO_IMAGES, LeftOut
from shifts.images.reading.paths import Parts, is_image, shown
from shifts.images.reading.splits import named_splits
from shifts.images.reading.text_tables import read_text_table

FILES = ("metadata.csv", "metadata.jsonl")
FILE_NAME = "file_name"


def read_described(folder: Path) -> tuple[dict[str, Any], dict[str, str], list[Note]]:
    """Return the tables of an image folder with metadata by split, where each came from, and what is left out.

    Tables are `datasets.Dataset`s with the image and every column of the metadata; none where no metadata file lies in
    the folder or in one of its folders. Raises BadInput for images that are not there, named twice or without a split,
    and for a split of whose images no metadata file says anything.
    """
    left = LeftOut()
    tree = tree_of(folder, left)
    files = [parts for parts in tree.files if parts[-1] in FILES and len(parts) <= 2]
    if not files:
        return {}, {}, []
    splits = named_splits({parts[0] for parts in tree.files if len(parts) > 1}, str(tree.folder))
    rows = _rows(tree, files, {folder_name: split for split, folder_name in splits.items()})
    named = {parts for listed in rows.values() for parts in listed}
    for parts in tree.files:
        if parts not in named and parts[-1] not in FILES:
            left.add(_why(tree, parts, set(splits.values())), parts)
    tables, origins = {}, {}
    for split, folder_name in splits.items():
        if rows[split]:
            tables[split] = _table(tree, rows[split])
            origins[split] = f"{folder_name}/, by its metadata file"
        elif any(parts[0] == folder_name and is_image(tree.folder.joinpath(*parts)) for parts in tree.files):
            raise BadInput(
                f"{tree.folder}: no metadata file names an image of {folder_name}/; its labels are not known"
            )
    return tables, origins, left.notes()


def _rows(tree: Tree, files: list[Parts], split_of_folder: Mapping[str, str]) -> dict[str, dict[Parts, dict[str, Any]]]:
    """Read the metadata of each image, by split and path. Raises BadInput naming file and row."""
    present = set(tree.files)
    rows: dict[str, dict[Parts, dict[str, Any]]] = {split: {} for split in split_of_folder.values()}
    for file in files:
        table = read_text_table(tree.folder.joinpath(*file))
        if FILE_NAME not in table:
            raise BadInput(f"{tree.folder / shown(file)} has no column {FILE_NAME}; it has: {', '.join(table)}")
        for number, name in enumerate(table[FILE_NAME]):
            where = f"{tree.folder / shown(file)}, row {number + 1}"
            parts = (*file[:-1], *(part for part in str(name).split("/") if part not in ("", ".")))
            split = split_of_folder.get(parts[0]) if len(parts) > 1 else None
            if split is None:
                raise BadInput(f"{where}: {name} lies in no split's folder; {LAYOUT}")
            if parts not in present:
                raise BadInput(f"{where}: there is no image {name}")
            if parts in rows[split]:
                raise BadInput(f"{where}: {name} stands there twice")
            rows[split][parts] = {column: values[number] for column, values in table.items()}
    return rows


def _why(tree: Tree, parts: Parts, folders: set[str]) -> str:
    if parts[0] not in folders:
        return BESIDE
    return "images that no metadata names" if is_image(tree.folder.joinpath(*parts)) else NO_IMAGES


def _table(tree: Tree, rows: Mapping[Parts, dict[str, Any]]) -> Any:
    """Return a split's images and metadata as one table, images first."""
    import datasets
    import pyarrow

    names = dict.fromkeys(name for row in rows.values() for name in row)
    columns: dict[str, list[Any]] = {
        name: [row.get(name) for row in rows.values()] for name in names if name not in ("image", FILE_NAME)
    }
    images = [{"bytes": None, "path": str(tree.folder.joinpath(*parts).resolve())} for parts in rows]
    try:
        table = datasets.Dataset.from_dict({"image": images} | columns)
        return table.cast_column("image", datasets.Image(decode=False))
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise BadInput(f"{tree.folder}: its metadata cannot be read as a table: {error}") from error
