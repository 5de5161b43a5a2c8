"""Label sets: multi-hot labels from columns of lists, which images a list of ids names, counts that are expected.

A label column may hold lists of names, of `ClassLabel`s or of whole numbers, in the table itself or inside objects:
`objects.category` is the field `category` of the column `objects`, whether that is a list of objects or an object of
lists (detection data on the Hub). Objects whose field `area` is not positive are no labels, as in COCO-LT.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from shifts.common.errors import BadInput

ID_COLUMNS = ("image_id", "id", "filename", "file_name")


def holds_lists(table: Any, column: str) -> bool:
    """Return whether a column of a `datasets.Dataset` (or a field of its objects) holds lists of labels."""
    import pyarrow

    head, _, rest = column.partition(".")
    if head not in table.features:
        return False
    if rest:
        return True
    kind = table.data.schema.field(head).type
    return bool(pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind))


def multi_hot(
    name: str, column: str, tables: Mapping[str, Any], class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, UInt8[np.ndarray, "images classes"]]]:
    """Return class names, and uint8 labels [N, C] by split.

    class_names: the classes in the order wanted, else the column's own (names in sorted order, numbers from 0 to the
    largest in train). Raises BadInput for labels that are missing, out of range or unknown.
    """
    flat = {split: _flat(name, split, table, column) for split, table in tables.items()}
    own = _own_names(tables["train"], column)
    values = {split: labels for split, (labels, _) in flat.items()}
    for split, table in tables.items():
        # Each split's numbers are read with its own names: their order may differ.
        names_there = _own_names(table, column)
        if names_there is not None:
            values[split] = [_named(name, split, names_there, label) for label in values[split]]
    in_train = values["train"]
    if not in_train:
        raise BadInput(f"{name}: no image of the train split has a label in {column!r}")
    textual = isinstance(in_train[0], str)
    kinds = {type(label) for labels in values.values() for label in labels}
    if kinds not in ({str}, {int}):
        raise BadInput(
            f"{name}: the lists in {column!r} (--label-column) hold {' and '.join(sorted(k.__name__ for k in kinds))}, "
            "not names in all splits or whole numbers in all"
        )
    names = tuple(class_names or own or ())
    if not names:
        names = tuple(sorted(set(in_train))) if textual else tuple(map(str, range(max(in_train) + 1)))
    number = {label: c for c, label in enumerate(names)} if textual else {c: c for c in range(len(names))}
    hot = {}
    for split, labels in values.items():
        hot[split] = np.zeros((len(tables[split]), len(names)), dtype=np.uint8)
        for label, image in zip(labels, flat[split][1].tolist(), strict=True):
            if label not in number:
                allowed = ", ".join(names) if textual else f"0..{len(names) - 1}"
                raise BadInput(f"{name}: label {label!r} of {split} image {image} is none of {allowed}")
            hot[split][image, number[label]] = 1
    return names, hot


def _own_names(table: Any, column: str) -> list[str] | None:
    """Return the names of a column of `ClassLabel`s, wherever they stand within it."""
    feature = table.features
    for field in column.split("."):
        feature = feature[field]
        while isinstance(feature, list) or hasattr(feature, "feature"):
            feature = feature[0] if isinstance(feature, list) else feature.feature
    names = getattr(feature, "names", None)
    return list(names) if names else None


def _named(name: str, split: str, names: Sequence[str], label: Any) -> str:
    if type(label) is not int or not 0 <= label < len(names):
        raise BadInput(f"{name}: label {label!r} in the {split} split is out of range 0..{len(names) - 1}")
    return names[label]


def _flat(name: str, split: str, table: Any, column: str) -> tuple[list[Any], Int[np.ndarray, " labels"]]:
    """Return all labels of a split one after the other, and the image that each belongs to."""
    head, *fields = column.split(".")
    rows = table.select_columns([head]).with_format("arrow")[:].column(head).to_pylist()
    labels: list[Any] = []
    images: list[int] = []
    for image, row in enumerate(rows):
        try:
            labels_of_image = _of_row(row, fields)
        except (TypeError, KeyError, AttributeError) as error:
            raise BadInput(f"{name}: {column!r} of {split} image {image} is no list of labels") from error
        labels += labels_of_image
        images += [image] * len(labels_of_image)
    return labels, np.asarray(images, dtype=np.int64)


def _of_row(row: Any, fields: Sequence[str]) -> list[Any]:
    """Return the labels of one image. Raises TypeError, KeyError where the row is made otherwise."""
    if row is None:
        raise TypeError
    if not fields:
        return list(row)
    (field,) = fields
    if isinstance(row, dict):
        areas = row.get("area") or [1] * len(row[field])
        return [label for label, area in zip(row[field], areas, strict=True) if area > 0]
    return [item[field] for item in row if item.get("area", 1) > 0]


def named_images(name: str, table: Any, image_column: str, ids: Path) -> Int[np.ndarray, " kept"]:
    """Return the indices, in the table's order, of the training images that a file of ids names, one id a line.

    An image's id stands in a column image_id, id, filename or file_name, else it is its file's name; suffix and
    folders do not count. Raises BadInput for a file that cannot be read, ids twice or without an image.
    """
    try:
        wanted = [_stem(line) for line in ids.read_text(encoding="utf-8").split()]
    except OSError as error:
        raise BadInput(f"--ids {ids}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"--ids {ids} is not a text file with one id a line") from error
    if not wanted:
        raise BadInput(f"--ids {ids} is empty")
    if len(set(wanted)) < len(wanted):
        raise BadInput(f"--ids {ids} names {len(wanted) - len(set(wanted))} images twice")
    place = {one: index for index, one in enumerate(_ids(name, table, image_column))}
    missing = [one for one in wanted if one not in place]
    if missing:
        raise BadInput(
            f"--ids {ids}: {len(missing)} of its {len(wanted)} ids have no image in the train split of {name}, "
            f"{missing[0]} for one; its ids look like {next(iter(place))}"
        )
    return np.sort(np.asarray([place[one] for one in wanted], dtype=np.int64))


def _ids(name: str, table: Any, image_column: str) -> list[str]:
    column = next((one for one in ID_COLUMNS if one in table.features), None)
    if column is not None:
        return [_stem(str(one)) for one in table.select_columns([column]).with_format("arrow")[:].column(0).to_pylist()]
    paths = [row["path"] for row in table.select_columns([image_column]).with_format("arrow")[:].column(0).to_pylist()]
    if not all(paths):
        raise BadInput(f"--ids: {name} has neither file names nor a column of ids ({', '.join(ID_COLUMNS)})")
    return [_stem(path) for path in paths]


def _stem(text: str) -> str:
    """Return an id without folders, suffix and the zeros before COCO's numbers."""
    stem = text.rpartition("/")[2].partition(".")[0]
    return stem.lstrip("0") or "0" if stem.isdecimal() else stem


def check_counts(
    name: str, labels: UInt8[np.ndarray, "images classes"], expected: Mapping[str, int], images: int | None
) -> None:
    """Raise BadInput unless the training set has that many images and the `expected` counts, by label in order."""
    counts = dict(zip(expected, labels.sum(axis=0, dtype=np.int64).tolist(), strict=True))
    wrong = [label for label in expected if counts[label] != expected[label]]
    details = []
    if images is not None and len(labels) != images:
        details.append(f"{len(labels):,} training images instead of {images:,}")
    if wrong:
        more = f" and {len(wrong) - 1} more labels differ" if len(wrong) > 1 else ""
        details.append(f"{counts[wrong[0]]} of {wrong[0]} instead of {expected[wrong[0]]}{more}")
    if details:
        raise BadInput(
            f"{name} is not the published training set: {', '.join(details)}; give the published list of ids with --ids"
        )


def co_occurrence(labels: UInt8[np.ndarray, "images classes"]) -> Int[np.ndarray, "classes classes"]:
    """Count the images with both classes, int64 [C, C]; the diagonal holds the label counts."""
    wide = labels.astype(np.int64)
    return wide.T @ wide
