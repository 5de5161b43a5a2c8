"""Multi-label datasets from tables: every layout of labels, lists of ids, published counts, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shifts.common.errors import BadInput
from shifts.images import catalog
from shifts.images.catalog import load
from shifts.images.entries import ENTRIES, Entry
from shifts.images.longtailed import COCO_COUNTS, COCO_IMAGES, VOC_COUNTS, VOC_IMAGES
from tests.shifts.conftest import encode

NAMES = ["cat", "dog", "eel"]
TRAIN = [[0], [0, 1], [2, 0], [1, 2], [0, 0], []]
TEST = [[0, 1], [1], [2], []]

Folder = Callable[..., Path]


def objects(rows: list[list[int]], areas: list[list[float]] | None = None) -> list[dict[str, Any]]:
    return [
        {"category": row, "area": area if areas else [1.0] * len(row)}
        for row, area in zip(rows, areas or rows, strict=True)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Write train and test in Hub layout from label rows of a given form; returns the folder."""

    def write(form: str, train: list[Any] = TRAIN, test: list[Any] = TEST, ids: bool = False) -> Path:
        import datasets

        label = datasets.ClassLabel(names=NAMES)
        where = tmp_path / form
        where.mkdir()
        for number, (split, rows) in enumerate((("train", train), ("test", test))):
            images = [
                {"bytes": encode(value=number * 50 + i), "path": f"VOC/{split}_{i:06}.png"} for i in range(len(rows))
            ]
            columns: dict[str, list[Any]] = {"image": images}
            if ids:
                columns["image_id"] = [1000 * number + i for i in range(len(rows))]
            column = "objects" if form.startswith("objects") else "labels"
            columns[column] = {
                "class labels": lambda rows=rows: rows,
                "numbers": lambda rows=rows: rows,
                "names": lambda rows=rows: [[NAMES[c] for c in row] for row in rows],
                "objects": lambda rows=rows: objects(rows),
                "objects list": lambda rows=rows: [[{"category": c} for c in row] for row in rows],
                "raw": lambda rows=rows: rows,
            }[form]()
            table = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
            if form == "class labels":
                table = table.cast_column("labels", datasets.Sequence(label))
            if form == "objects":
                features = table.features.copy()
                features["objects"] = {
                    "category": datasets.Sequence(label),
                    "area": datasets.Sequence(datasets.Value("float64")),
                }
                table = table.cast(features)
            table.to_parquet(where / f"{split}-00000-of-00001.parquet")
        return where

    return write


@pytest.mark.parametrize("form", ["class labels", "numbers", "names", "objects", "objects list"])
def test_every_layout_gives_the_same_label_sets(folder: Folder, form: str) -> None:
    column = "objects.category" if form.startswith("objects") else None
    dataset = load(str(folder(form)), label_column=column)
    assert (dataset.task, dataset.entry.task) == ("multi_label", "multi_label")
    assert dataset.class_names == (("0", "1", "2") if form in ("numbers", "objects list") else tuple(NAMES))
    assert dataset.train.labels.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert dataset.test.labels.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert dataset.train.labels.dtype == np.uint8
    assert dataset.train.class_counts().tolist() == [4, 2, 2]
    assert dataset.train.images(np.array([5])).shape == (1, 6, 4, 1)


def test_objects_without_an_area_are_no_labels(folder: Folder) -> None:
    import datasets

    where = folder("objects")
    path = where / "train-00000-of-00001.parquet"
    table = datasets.Dataset.from_parquet(str(path))
    columns = {"image": table.cast_column("image", datasets.Image(decode=False))["image"]}
    areas: list[list[float]] = [[0.0], [2.0, 0.0], [3.0, 1.0], [1.0, 1.0], [1.0, 0.0], []]
    features = table.features
    made = datasets.Dataset.from_dict({**columns, "objects": objects(TRAIN, areas)}, features=features)
    made.to_parquet(path)
    dataset = load(str(where), label_column="objects.category")
    assert dataset.train.labels.tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("ids", [False, True])
def test_ids_keep_the_listed_training_images(folder: Folder, tmp_path: Path, ids: bool) -> None:
    """By file name, or by a column of ids; folders, suffixes and leading zeros do not count."""
    listed = tmp_path / "ids.txt"
    listed.write_text(
        "\n".join(["000003", "0001", "2.jpg"] if ids else ["train_000003", "train_000001", "x/train_000002.jpg"])
    )
    where = folder("class labels", ids=ids)
    dataset = load(str(where), ids=listed)
    assert dataset.train.labels.tolist() == [[1, 1, 0], [1, 0, 1], [0, 1, 1]], "in the table's order"
    assert len(dataset.test) == 4, "the test pool is left as it is"
    whole = load(str(where))
    assert dataset.train.encoded([0]) == whole.train.encoded([1])


def test_an_image_folder_with_metadata(tmp_path: Path) -> None:
    """Files as they come, and beside them a line for each: the easiest layout to make of VOC's own."""
    for split, rows in (("train", TRAIN[:5]), ("test", TEST[:3])):
        where = tmp_path / "voc" / split
        where.mkdir(parents=True)
        lines = []
        for i, row in enumerate(rows):
            (where / f"2008_{i:06}.png").write_bytes(encode(value=i))
            lines.append(json.dumps({"file_name": f"2008_{i:06}.png", "labels": [NAMES[c] for c in row]}))
        (where / "metadata.jsonl").write_text("\n".join(lines))
    (tmp_path / "ids.txt").write_text("2008_000004\n2008_000001\n2008_000003\n2008_000002\n")
    dataset = load(str(tmp_path / "voc"), ids=tmp_path / "ids.txt")
    assert dataset.class_names == tuple(NAMES)
    assert dataset.train.labels.tolist() == [[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0]]
    assert dataset.train.images(np.array([0]))[0, 0, 0, 0] == 1
    assert dataset.test.class_counts().tolist() == [1, 2, 1]


PUBLISHED = Entry(
    "published",
    "a published training set",
    "none",
    task="multi_label",
    label_counts={"cat": 2, "dog": 2, "eel": 2},
    train_images=3,
)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "ENTRIES", (*ENTRIES, PUBLISHED))


@pytest.mark.usefixtures("published")
def test_published_counts_are_those_of_the_listed_images(folder: Folder, tmp_path: Path) -> None:
    where, ids = folder("names"), tmp_path / "ids.txt"
    ids.write_text("train_000001\ntrain_000002\ntrain_000003\n")
    dataset = load("published", data_dir=where, ids=ids)
    assert dataset.train.class_counts().tolist() == [2, 2, 2]
    assert dataset.class_names == tuple(NAMES)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (None, "6 training images instead of 3, 4 of cat instead of 2; give the published list of ids with --ids"),
        ("0 1 2", "3 of cat instead of 2 and 2 more labels differ"),
        ("1 2 3 5", "4 training images instead of 3; give"),
    ],
)
def test_other_counts_are_refused(folder: Folder, tmp_path: Path, listed: str | None, said: str) -> None:
    ids = None
    if listed is not None:
        ids = tmp_path / "ids.txt"
        ids.write_text("\n".join(f"train_{int(one):06}" for one in listed.split()))
    with pytest.raises(BadInput, match=f"published is not the published training set: {said}"):
        load("published", data_dir=folder("numbers"), ids=ids)


@pytest.mark.usefixtures("published")
def test_names_are_put_in_the_published_order(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"eel": 2, "dog": 2, "cat": 4}
    monkeypatch.setattr(catalog, "ENTRIES", (replace(PUBLISHED, label_counts=counts, train_images=6),))
    dataset = load("published", data_dir=folder("class labels"))
    assert dataset.class_names == ("eel", "dog", "cat")
    assert dataset.train.labels[1].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("train_000001 train_000001", "names 1 images twice"),
        ("train_000001 2008_000007", "1 of its 2 ids have no image in the train split of names, 2008_000007 for one"),
    ],
)
def test_wrong_id_files(folder: Folder, tmp_path: Path, text: str, said: str) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text(text)
    with pytest.raises(BadInput, match=said):
        load(str(folder("names")), ids=ids)


def test_ids_that_cannot_be_read_or_do_not_belong(folder: Folder, tmp_path: Path) -> None:
    where = folder("names")
    with pytest.raises(BadInput, match=r"--ids .*none.txt: No such file"):
        load(str(where), ids=tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(BadInput, match="is not a text file with one id a line"):
        load(str(where), ids=tmp_path / "binary")
    with pytest.raises(BadInput, match="holds no lists of labels"):
        load("embedded", ids=tmp_path / "binary")
    with pytest.raises(BadInput, match="places_lt takes no --ids"):
        load("places_lt", ids=tmp_path / "binary", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("form", "changes", "said"),
    [
        ("raw", {"train": [["cat"], ["dog"], None]}, "'labels' of train image 2 is no list of labels"),
        ("raw", {"test": [[0], [3], [2], [1]]}, "label 3 of test image 1 is none of 0..2"),
        ("names", {"train": [[0], [1]], "test": [[2], [0]]}, "label 'eel' of test image 0 is none of cat, dog"),
        ("raw", {"train": [[0.5], [1.0]], "test": [[0.5], [1.0]]}, "hold float, not names in all splits"),
        ("raw", {"train": [[0], [0]], "test": [[0], [0]]}, "has one class; at least two are needed"),
        ("numbers", {"test": [[0], [1]]}, r"class 2 \(2\) has no image in the test split"),
    ],
)
def test_wrong_labels(folder: Folder, form: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load(str(folder(form, **changes)))


def test_a_field_that_is_not_there(folder: Folder) -> None:
    with pytest.raises(BadInput, match=r"'objects.kind' of train image 0 is no list of labels"):
        load(str(folder("objects list")), label_column="objects.kind")
    with pytest.raises(BadInput, match=r"no column 'things.kind'"):
        load(str(folder("names")), label_column="things.kind")


def test_the_published_entries() -> None:
    """specs of the benchmark: sizes, labels an image, groups."""
    assert (len(VOC_COUNTS), VOC_IMAGES, len(COCO_COUNTS), COCO_IMAGES) == (20, 1142, 80, 1909)
    for counts, images, labels, groups in (
        (VOC_COUNTS, VOC_IMAGES, 2.054, (6, 6, 8)),
        (COCO_COUNTS, COCO_IMAGES, 4.356, (22, 33, 25)),
    ):
        values = np.array(list(counts.values()))
        assert values.sum() / images == pytest.approx(labels, abs=5e-4)
        head, tail = values >= 100, values < 20
        assert (head.sum(), (~head & ~tail).sum(), tail.sum()) == groups
    assert max(VOC_COUNTS, key=VOC_COUNTS.__getitem__) == "person"
    assert min(VOC_COUNTS, key=VOC_COUNTS.__getitem__) == "cow"
    with pytest.raises(BadInput, match="voc_mlt needs --data-dir"):
        load("voc_mlt")
