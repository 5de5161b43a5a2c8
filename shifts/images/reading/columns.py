"""From the splits of a `datasets` dataset to `ImageSet`s: which columns, which labels, which classes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shifts.common.errors import BadInput
from shifts.common.notes import Note
from shifts.images.imageset import ImageSet, PartStore, TableStore
from shifts.images.reading.found import IMAGE_NAMES, LABEL_NAMES, FoundSplit
from shifts.images.reading.labelsets import holds_lists, multi_hot, named_images
from shifts.images.reading.numbering import Labels, composed, one_numbering

TEST_SPLITS = ("test", "validation", "valid", "val")
SPARE_SPLITS = TEST_SPLITS[1:]


@dataclass(frozen=True)
class Splits:
    """The image sets of a dataset by role (train, test, validation), and what was understood.

    `origins`: where each split came from, in words; `labels_from`: where its labels stood, and why there.
    """

    sets: Mapping[str, ImageSet]
    origins: Mapping[str, str]
    labels_from: str
    notes: tuple[Note, ...] = ()

    def with_notes(self, notes: Sequence[Note]) -> "Splits":
        """Return the same with more notes."""
        return replace(self, notes=(*notes, *self.notes))


def chosen_splits(name: str, splits: Sequence[str], test_split: str | None = None) -> dict[str, str]:
    """Return the split that serves as train, test and, where there is one besides, validation.

    test_split: the one asked for; else the first of `TEST_SPLITS`. Raises BadInput where train or test is missing.
    """
    if "train" not in splits:
        raise BadInput(
            f"{name} has no train split; it has: {', '.join(splits) or 'none'}; --test-fraction 0.2 makes one of all"
        )
    wanted = test_split or next((split for split in TEST_SPLITS if split in splits), None)
    if wanted is None:
        raise BadInput(
            f"{name} has no test split (test, validation, valid or val); it has: {', '.join(splits)}; "
            "--test-fraction 0.2 takes test images from train"
        )
    if wanted not in splits or wanted == "train":
        others = [split for split in splits if split != "train"]
        raise BadInput(f"{name} has no split {wanted!r} to test on (--test-split); it has: {', '.join(others)}")
    spare = next((split for split in SPARE_SPLITS if split in splits and split != wanted), None)
    return {"train": "train", "test": wanted} | ({} if spare is None else {"validation": spare})


def image_sets(
    name: str,
    splits: Mapping[str, Any],
    image_column: str | None,
    label_column: str | None,
    class_names: Sequence[str] | None = None,
    ids: Path | None = None,
    *,
    test_split: str | None = None,
    test_fraction: float | None = None,
    origins: Mapping[str, str] | None = None,
) -> Splits:
    """Return the image sets of a dataset's tables (`datasets.Dataset`) by split.

    A column that is not named is found by its usual name or type. Labels may be `ClassLabel`, names, truth values or
    whole numbers from 0, each split's matched by name (`shifts.labels`); lists of those make a multi-label dataset
    (`shifts.images.reading.labelsets`), whose classes `class_names` may name and of whose training images `ids` lists
    those to keep. test_split: the split to test on; test_fraction: `with_test_part`. A validation split that does not
    fit is none, and noted. Raises BadInput for what does not fit.
    """
    first = "train" if "train" in splits else next(iter(splits), "train")
    if first not in splits:
        chosen_splits(name, list(splits), test_split)  # says what is missing
    image, _ = _column(name, splits[first], "image", image_column)
    label, why = _column(name, splits[first], "label", label_column)
    origin_of = origins or {split: f"split {split}" for split in splits}

    def checked(split: str) -> Any:
        """Return a split's table. Raises BadInput if it is empty or lacks the columns."""
        if len(splits[split]) == 0:
            raise BadInput(f"{name}: the {split} split is empty")
        for column, option in ((image, "image"), (label, "label")):
            _column(f"{name} ({split} split)", splits[split], option, column)
        return _undecoded(name, splits[split], image)

    labels_from = f"column {label} ({why})"
    if not holds_lists(splits[first], label):
        if ids is not None or class_names is not None:
            raise BadInput(
                f"{name}: column {label!r} (--label-column) holds no lists of labels, which --ids and it need"
            )

        def labelled_split(split: str) -> FoundSplit:
            table = checked(split)
            return FoundSplit(_labels(name, split, label, table), TableStore(table, image), origin_of[split])

        return single_label(name, labelled_split, test_split, test_fraction, list(splits), labels_from)
    if test_fraction is not None:
        raise BadInput(f"{name}: --test-fraction divides data with one label an image, not label sets")
    roles = chosen_splits(name, list(splits), test_split)
    tables = {split: checked(split) for split in (roles["train"], roles["test"])}
    if ids is not None:
        tables["train"] = tables["train"].select(named_images(name, tables["train"], image, ids))
    names, labels = multi_hot(name, label, tables, class_names)
    sets = {role: roles[role] for role in ("train", "test")}
    images = {
        role: ImageSet(name, split, labels[split], names, TableStore(tables[split], image))
        for role, split in sets.items()
    }
    return Splits(images, {role: origin_of[split] for role, split in sets.items()}, labels_from)


def single_label(
    name: str,
    labelled_split: Mapping[str, FoundSplit] | Callable[[str], FoundSplit],
    test_split: str | None = None,
    test_fraction: float | None = None,
    splits: Sequence[str] | None = None,
    labels_from: str | None = None,
) -> Splits:
    """Return the image sets of single-label splits with one numbering of the classes.

    labelled_split: the splits by name, or a function that gives one by name (`splits` are the names then); what it
    raises of the validation split (BadInput) becomes a note. The other arguments are those of `image_sets`.
    """
    if not callable(labelled_split):
        splits, labelled_split = list(labelled_split), labelled_split.__getitem__
    assert splits is not None
    if test_fraction is not None:
        parts = with_test_part(name, splits, labelled_split, test_fraction)
        splits, labelled_split = list(parts), parts.__getitem__
    roles = chosen_splits(name, splits, test_split)
    by_role = {role: labelled_split(split) for role, split in roles.items() if role != "validation"}
    classes, labels, notes = one_numbering(name, by_role["train"].labels, roles["test"], by_role["test"].labels)
    if "validation" in roles:
        spare = roles["validation"]
        try:
            by_role["validation"] = labelled_split(spare)
            labels[spare] = classes.number(name, spare, by_role["validation"].labels)
        except BadInput as error:
            # Nobody need use it, so that one without labels, say, is none.
            by_role.pop("validation", None)
            notes.append(Note("validation", 1, f"the {spare} split is not used: {error}"))
    sets = {
        role: ImageSet(name, roles[role], labels[roles[role]], classes.names, split.store)
        for role, split in by_role.items()
    }
    origins = {role: split.origin for role, split in by_role.items()}
    return Splits(sets, origins, labels_from or by_role["train"].labels.origin, tuple(notes))


def with_test_part(
    name: str, splits: Sequence[str], labelled_split: Callable[[str], FoundSplit], fraction: float
) -> dict[str, FoundSplit]:
    """Return train and test, made of the only labelled split: `fraction` of each class, at least one image, is test.

    Which images is drawn with NumPy's legacy generator, seed 0. Raises BadInput where there is a test split already,
    and for a class with a single image.
    """
    existing = next((split for split in TEST_SPLITS if split in splits), None)
    if existing is not None:
        raise BadInput(f"{name} has a split to test on, {existing}; --test-fraction is for data without one")
    if len(splits) != 1:
        raise BadInput(f"{name}: --test-fraction needs one split; it has: {', '.join(splits)}")
    whole = labelled_split(splits[0])
    values = whole.labels.values
    generator = np.random.RandomState(0)
    chosen = []
    for label in np.unique(values):
        members = generator.permutation(np.flatnonzero(values == label))
        if len(members) < 2:
            raise BadInput(f"{name}: --test-fraction needs two images of each class; label {label} has one")
        chosen.append(members[: min(max(round(fraction * len(members)), 1), len(members) - 1)])
    test = np.sort(np.concatenate(chosen))
    parts = {"train": np.setdiff1d(np.arange(len(values)), test), "test": test}
    return {
        split: FoundSplit(
            replace(whole.labels, values=values[indices]),
            PartStore(whole.store, indices),
            f"{len(indices):,} of {len(values):,} images of {whole.origin} (--test-fraction {fraction:g})",
        )
        for split, indices in parts.items()
    }


def _column(name: str, table: Any, role: str, asked: str | None) -> tuple[str, str]:
    """Return the column of a role and why it is that one; `asked` must exist.

    Images are in the only column of that type, else in one of the usual names; labels in one of the usual names, else
    in the only column of `ClassLabel`s.
    """
    features = table.features
    if asked is not None:
        if asked.partition(".")[0] not in features:
            raise BadInput(f"{name} has no column {asked!r} (--{role}-column); it has: {', '.join(features)}")
        return asked, "as asked"
    kind = "Image" if role == "image" else "ClassLabel"
    typed = [column for column, feature in features.items() if type(feature).__name__ == kind]
    usual = [column for column in (IMAGE_NAMES if role == "image" else LABEL_NAMES) if column in features]
    by_type = [(column, f"the only {kind}") for column in typed] if len(typed) == 1 else []
    by_name = [(column, "its usual name") for column in usual if role == "label" or not typed or column in typed]
    candidates = by_type + by_name if role == "image" else by_name + by_type
    if not candidates:
        raise BadInput(f"{name}: name its {role} column with --{role}-column; it has: {', '.join(features)}")
    return candidates[0]


def _undecoded(name: str, table: Any, column: str) -> Any:
    import datasets
    import pyarrow

    try:
        return table.cast_column(column, datasets.Image(decode=False))
    except (TypeError, ValueError, NotImplementedError, pyarrow.ArrowException) as error:
        raise BadInput(f"{name}: column {column!r} (--image-column) holds no images") from error


def _labels(name: str, split: str, column: str, table: Any) -> Labels:
    """Return the labels of a split's table, in its own names. Raises BadInput."""
    import pyarrow

    values = table.select_columns([column]).with_format("arrow")[:].column(column)
    if values.null_count:
        raise BadInput(f"{name}: {values.null_count} images of the {split} split have no label in {column!r}")
    kind, origin = values.type, f"column {column}"
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return Labels.from_names(values.to_pylist(), origin)
    if pyarrow.types.is_boolean(kind):
        return Labels.from_values(values.to_pylist(), origin, split)
    if not pyarrow.types.is_integer(kind):
        raise BadInput(
            f"{name}: column {column!r} (--label-column) of the {split} split holds {kind}, neither whole numbers nor "
            "names"
        )
    numbers = values.to_numpy().astype(np.int64)
    names = getattr(table.features[column], "names", None)
    if (numbers < 0).all():
        raise BadInput(f"{name}: the {split} split has no labels (all are below 0); --test-split names another one")
    if not names:
        return Labels(None, numbers, origin)
    wrong = np.flatnonzero((numbers < 0) | (numbers >= len(names)))
    if len(wrong):
        first = int(wrong[0])
        raise BadInput(f"{name}: label {numbers[first]} of {split} image {first} is out of range 0..{len(names) - 1}")
    return Labels(tuple(composed(names, origin).values()), numbers, origin)
