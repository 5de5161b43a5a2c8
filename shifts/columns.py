"""From the splits of a `datasets` dataset to `ImageSet`s: which columns, which labels, which classes."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from shifts.errors import BadInput
from shifts.imageset import ImageSet, TableStore
from shifts.labelsets import holds_lists, multi_hot, named_images

TEST_SPLITS = ("test", "validation", "valid", "val")


def image_sets(
    name: str,
    splits: Mapping[str, Any],
    image_column: str | None,
    label_column: str | None,
    class_names: Sequence[str] | None = None,
    ids: Path | None = None,
) -> dict[str, ImageSet]:
    """`ImageSet`s of a dataset's splits: train, test (`test`, else `validation`, `valid`, `val`), validation.

    There is a validation set where a single-label dataset has such a split, of the same form, besides `test`.
    A column that is not named is found by its type or usual name. Labels may be `ClassLabel`, whole numbers from
    0, or strings (classes = their sorted names in train); lists of those make a multi-label dataset
    (`shifts.labelsets`), whose classes `class_names` may name and of whose training images `ids` lists those to
    keep. Raises BadInput for what does not fit.
    """
    if "train" not in splits:
        raise BadInput(f"{name} has no train split; it has: {', '.join(splits) or 'none'}")
    test_split = next((split for split in TEST_SPLITS if split in splits), None)
    if test_split is None:
        raise BadInput(f"{name} has no test split (test, validation, valid or val); it has: {', '.join(splits)}")
    train = splits["train"]
    image = _column(name, train, "image", image_column)
    label = _column(name, train, "label", label_column)
    lists = holds_lists(train, label)

    def checked(split: str) -> Any:
        """A split's table. Raises BadInput if it is empty or lacks the columns."""
        if len(splits[split]) == 0:
            raise BadInput(f"{name}: the {split} split is empty")
        for column, option in ((image, "image"), (label, "label")):
            _column(f"{name} ({split} split)", splits[split], option, column)
        return _undecoded(name, splits[split], image)

    tables = {split: checked(split) for split in ("train", test_split)}
    if not lists and (ids is not None or class_names is not None):
        raise BadInput(f"{name}: column {label!r} (--label-column) holds no lists of labels, which --ids and it need")
    if ids is not None:
        tables["train"] = tables["train"].select(named_images(name, tables["train"], image, ids))
    names, labels = multi_hot(name, label, tables, class_names) if lists else _labels(name, label, tables)
    sets = {
        role: ImageSet(name, split, labels[split], names, TableStore(tables[split], image))
        for role, split in (("train", "train"), ("test", test_split))
    }
    spare = next((split for split in TEST_SPLITS[1:] if split in splits), None)
    if spare is not None and test_split == "test" and not lists:
        # Nobody need use it, so that one without labels (-1), say, is none.
        with suppress(BadInput):
            table = checked(spare)
            _, own = _labels(name, label, {"train": tables["train"], spare: table})
            sets["validation"] = ImageSet(name, spare, own[spare], names, TableStore(table, image))
    return sets


def _column(name: str, table: Any, role: str, asked: str | None) -> str:
    """The column of a role; `asked` must exist, otherwise the only one of the right type or usual name."""
    features = table.features
    if asked is not None:
        if asked.partition(".")[0] not in features:
            raise BadInput(f"{name} has no column {asked!r} (--{role}-column); it has: {', '.join(features)}")
        return asked
    wanted = "Image" if role == "image" else "ClassLabel"
    typed = [column for column, feature in features.items() if type(feature).__name__ == wanted]
    usual = ("image", "img") if role == "image" else ("label", "labels", "fine_label")
    found = typed if len(typed) == 1 else [column for column in usual if column in features]
    if not found:
        raise BadInput(f"{name}: name its {role} column with --{role}-column; it has: {', '.join(features)}")
    return found[0]


def _undecoded(name: str, table: Any, column: str) -> Any:
    import datasets
    import pyarrow

    try:
        return table.cast_column(column, datasets.Image(decode=False))
    except (TypeError, ValueError, NotImplementedError, pyarrow.ArrowException) as error:
        raise BadInput(f"{name}: column {column!r} (--image-column) holds no images") from error


def _labels(
    name: str, column: str, tables: Mapping[str, Any]
) -> tuple[tuple[str, ...], dict[str, Int[np.ndarray, " images"]]]:
    """Class names, and int64 labels by split."""
    import pyarrow

    raw = {}
    for split, table in tables.items():
        values = table.select_columns([column]).with_format("arrow")[:].column(column)
        if values.null_count:
            raise BadInput(f"{name}: {values.null_count} images of the {split} split have no label in {column!r}")
        raw[split] = values
    kind = raw["train"].type
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        class_names = tuple(sorted(set(raw["train"].to_pylist())))
        return class_names, {s: _from_strings(name, s, v.to_pylist(), class_names) for s, v in raw.items()}
    if not pyarrow.types.is_integer(kind):
        raise BadInput(f"{name}: column {column!r} (--label-column) holds {kind}, neither whole numbers nor names")
    labels = {split: values.to_numpy().astype(np.int64) for split, values in raw.items()}
    feature = tables["train"].features[column]
    given = getattr(feature, "names", None)
    class_names = tuple(given) if given else tuple(str(c) for c in range(int(labels["train"].max()) + 1))
    for split, values in labels.items():
        wrong = np.flatnonzero((values < 0) | (values >= len(class_names)))
        if len(wrong):
            index = int(wrong[0])
            allowed = f"0..{len(class_names) - 1}"
            raise BadInput(f"{name}: label {values[index]} of {split} image {index} is out of range {allowed}")
    return class_names, labels


def _from_strings(name: str, split: str, values: list[str], class_names: tuple[str, ...]) -> Int[np.ndarray, " images"]:
    number = {class_name: c for c, class_name in enumerate(class_names)}
    for index, value in enumerate(values):
        if value not in number:
            raise BadInput(f"{name}: label {value!r} of {split} image {index} does not occur in the train split")
    return np.asarray([number[value] for value in values], dtype=np.int64)
