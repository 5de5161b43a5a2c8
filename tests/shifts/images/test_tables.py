"""Tables as people have them: labels matched by name, files by split, paths that may hold any character."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shifts.common.errors import BadInput
from shifts.images.catalog import load
from tests.shifts.pictures import counts, notes, picture, png, write, write_folder, write_table


def named(*names: str) -> Any:
    import datasets

    return datasets.ClassLabel(names=list(names))


def kind(name: str) -> Any:
    import datasets

    return datasets.Value(name)


def test_other_orders_of_class_names(tmp_path: Path) -> None:
    """Each split, and each file of a split, is read with its own names."""
    import datasets

    write_table(tmp_path / "parquet", "train", [0, 0, 0, 1], named("cat", "dog"))
    write_table(tmp_path / "parquet", "test", [0, 1, 1], named("dog", "cat"))
    dataset = load(str(tmp_path / "parquet"))
    assert (counts(dataset), counts(dataset, "test")) == ({"cat": 3, "dog": 1}, {"cat": 2, "dog": 1})
    splits = {}
    for split, labels, names in (("train", [0, 0, 1, 2], "abc"), ("test", [0, 0, 1], "cab")):
        images = [{"bytes": png(0, i), "path": None} for i in range(len(labels))]
        features = datasets.Features({"image": datasets.Image(), "label": named(*names)})
        splits[split] = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    with pytest.raises(BadInput, match=r"class 1 \(b\) has no image in the test split"):
        load(str(tmp_path / "saved"))
    part = tmp_path / "parts"
    write_table(part, "train", [0, 0, 1], named("cat", "dog"))
    (part / "train-00000-of-00001.parquet").rename(part / "train-00000-of-00002.parquet")
    write_table(part / "aside", "train", [0, 0, 1], named("dog", "cat"))
    (part / "aside" / "train-00000-of-00001.parquet").rename(part / "train-00001-of-00002.parquet")
    write_table(part, "test", [1, 0], named("cat", "dog"))
    dataset = load(str(part))
    assert dataset.train.labels.tolist() == [0, 0, 1, 1, 1, 0]
    (part / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(BadInput, match="the train split's files are not all there"):
        load(str(part))


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ((["a", "b"], "string"), (["b", "b", "a"], "large_string"), {"a": 1, "b": 2}),
        (([0, 1], "uint8"), ([1, 1, 0], "int64"), {"0": 1, "1": 2}),
        (([0, 1], "int32"), ([1, 1, 0], "uint64"), {"0": 1, "1": 2}),
        (([1, 2], "int64"), ([2, 1, 1], "int64"), {"1": 2, "2": 1}),
        (([False, True], "bool"), ([True, True, False], "bool"), {"False": 1, "True": 2}),
        (([10985, 10986], "int64"), ([10985, 10986], "int64"), {"10985": 1, "10986": 1}),
    ],
)
def test_kinds_of_labels(
    tmp_path: Path, train: tuple[list[Any], str], test: tuple[list[Any], str], expected: dict[str, int]
) -> None:
    write_table(tmp_path, "train", train[0], kind(train[1]))
    write_table(tmp_path, "test", test[0], kind(test[1]))
    assert counts(load(str(tmp_path)), "test") == expected


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (([0, 1], "int64"), ([0.5, 1.5], "float64"), "of the test split holds double, neither whole numbers nor names"),
        (([0.0, 1.0], "float32"), ([0.0, 1.0], "float32"), "of the train split holds float, neither whole"),
        ((["0", "1"], "string"), ([0, 1], "int64"), "labels of train are names, those of test are numbers"),
        (([0, 1], "int64"), ([2, 0, 1], "int64"), r"label 2 of test image 0 is out of range 0\.\.1"),
        (([0, 2], "int64"), ([0, 1, 2], "int64"), r"class 1 \(1\) has no image in the train split"),
        (([0, 1], "int64"), ([-1, -1], "int64"), "the test split has no labels .*--test-split names another"),
        (([0, 9_999_999], "int64"), ([0, 1], "int64"), "label 9999999 is no class number"),
        (([0, 1], "int64"), ([0, None], "int64"), "1 images of the test split have no label"),
    ],
)
def test_labels_that_do_not_fit(
    tmp_path: Path, train: tuple[list[Any], str], test: tuple[list[Any], str], message: str
) -> None:
    write_table(tmp_path, "train", train[0], kind(train[1]))
    write_table(tmp_path, "test", test[0], kind(test[1]))
    with pytest.raises(BadInput, match=message):
        load(str(tmp_path))


def test_class_labels_beside_names_and_classes_without_images(tmp_path: Path) -> None:
    write_table(tmp_path, "train", [0, 2, 2], named("cat", "unused", "dog"))
    write_table(tmp_path, "test", ["dog", "cat"], kind("string"))
    write_table(tmp_path, "validation", [0, 1], kind("int64"))
    dataset = load(str(tmp_path))
    assert (counts(dataset), counts(dataset, "test")) == ({"cat": 1, "dog": 2}, {"cat": 1, "dog": 1})
    assert notes(dataset).splitlines()[0] == "left out: classes without any image (1, such as unused)"
    assert "the validation split is not used: " in notes(dataset)
    assert dataset.validation is None


def test_the_usual_name_of_a_column_goes_first(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": kind("int64"), "camera": named("left", "right")})
    for split in ("train", "test"):
        columns = {
            "image": [{"bytes": png(0, i), "path": None} for i in range(4)],
            "label": [0, 1, 2, 2],
            "camera": [0, 1, 0, 1],
        }
        datasets.Dataset.from_dict(columns, features=features).to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    dataset = load(str(tmp_path))
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.labels_from == "column label (its usual name)"
    assert load(str(tmp_path), label_column="camera").class_names == ("left", "right")


def test_categories_and_foreign_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    image = pa.array(
        [{"bytes": png(0, i), "path": None} for i in range(4)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    for split in ("train", "test"):
        label = pa.array(["cat", "dog", "dog", "cat"]).dictionary_encode()
        odd = pa.array([[("a", 1)]] * 4, pa.map_(pa.string(), pa.int64()))
        parquet.write_table(pa.table({"image": image, "label": label, "odd": odd}), tmp_path / f"{split}.parquet")
    assert counts(load(str(tmp_path))) == {"cat": 2, "dog": 2}


@pytest.mark.parametrize("form", ["parquet", "arrow", "feather", "csv", "tsv", "jsonl", "json"])
def test_forms_of_tables_and_relative_paths(tmp_path: Path, form: str) -> None:
    import pyarrow as pa
    from pyarrow import feather, ipc, parquet

    root = tmp_path / "my [data]*{x}::1"
    for split in ("train", "test"):
        paths, labels = [f"images/{split} {i}.png" for i in range(4)], ["b", "a", "NA", "b"]
        for i, path in enumerate(paths):
            write(root / path, png(0, i + 10 * (split == "test")))
        table, file = pa.table({"image": paths, "label": labels}), root / f"{split}.{form}"
        if form == "parquet":
            parquet.write_table(table, file)
        elif form == "arrow":
            with ipc.new_stream(str(file), table.schema) as stream:
                stream.write_table(table)
        elif form == "feather":
            feather.write_feather(table, file.with_suffix(".arrow"), compression="uncompressed")
        elif form in ("csv", "tsv"):
            separator = "," if form == "csv" else "\t"
            rows = [("image", "label"), *zip(paths, labels, strict=True)]
            file.write_text("\ufeff" + "\r\n".join(separator.join(row) for row in rows))
        else:
            rows = [{"image": path, "label": label} for path, label in zip(paths, labels, strict=True)]
            file.write_text(json.dumps(rows) if form == "json" else "\n".join(map(json.dumps, rows)))
    dataset = load(str(root))
    assert counts(dataset) == {"NA": 1, "a": 1, "b": 2}
    assert dataset.train.images(np.array([3]))[0].tolist() == np.asarray(picture(0, 3)).tolist()
    (root / "images" / "test 2.png").unlink()
    assert counts(load(str(root)), "test") == {"NA": 1, "a": 1, "b": 2}  # found before training, by the check-up


def test_where_files_of_a_split_lie(tmp_path: Path) -> None:
    for place in ("train/part-0.parquet", "test/0.parquet"):
        split = place.partition("/")[0]
        write_table(tmp_path / "aside", split, [0, 1])
        (tmp_path / "folders" / split).mkdir(parents=True)
        (tmp_path / "aside" / f"{split}-00000-of-00001.parquet").rename(tmp_path / "folders" / place)
    assert counts(load(str(tmp_path / "folders"))) == {"0": 1, "1": 1}
    write_table(tmp_path / "folders" / "data", "train", [0, 1])
    with pytest.raises(BadInput, match="are both the train split; keep one of them there"):
        load(str(tmp_path / "folders"))
    for name in ("small", "large"):
        for split in ("train", "test"):
            write_table(tmp_path / "configs" / name, split, [0, 1, 1])
    with pytest.raises(BadInput, match=r"are both the test split|are both the train split"):
        load(str(tmp_path / "configs"))


def test_configurations(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name, labels in (("small", [0, 1]), ("large", [0, 1, 1])):
        for split in ("train", "test"):
            write_table(root / name, split, labels)
    write_folder(root / "pictures", ["car", "dog"])
    (root / "README.md").write_text(
        "---\nconfigs:\n- config_name: small\n  data_dir: small\n- config_name: large\n  data_files:\n"
        "  - split: train\n    path: large/train-*\n  - split: test\n    path: 'large/test-*.parquet'\n"
        "- config_name: pictures\n  data_dir: pictures\n---\n# Data\n"
    )
    with pytest.raises(BadInput, match="has 3 configurations; name one with --config: small, large, pictures"):
        load(str(root))
    with pytest.raises(BadInput, match="unknown configuration 'smal'; allowed: small"):
        load(str(root), config="smal")
    assert counts(load(str(root), config="small")) == {"0": 1, "1": 1}
    assert counts(load(str(root), config="large")) == {"0": 1, "1": 2}
    assert counts(load(str(root), config="pictures")) == {"car": 4, "dog": 4}
    with pytest.raises(BadInput, match="declares no configurations"):
        load(str(root / "small"), config="small")


def test_a_file_changed_with_its_old_time_put_back(tmp_path: Path) -> None:
    write_table(tmp_path, "train", [0, 0, 1])
    write_table(tmp_path, "test", [0, 1])
    assert counts(load(str(tmp_path))) == {"0": 2, "1": 1}
    file = tmp_path / "train-00000-of-00001.parquet"
    before = file.stat()
    write_table(tmp_path, "train", [0, 1, 1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert counts(load(str(tmp_path))) == {"0": 1, "1": 2}


def test_the_validation_split_serves_where_the_test_split_has_no_labels(tmp_path: Path) -> None:
    for split, labels in (("train", [0, 1]), ("validation", [0, 1, 1]), ("test", [-1, -1])):
        write_table(tmp_path, split, labels, named("cat", "dog"))
    with pytest.raises(BadInput, match="the test split has no labels"):
        load(str(tmp_path))
    dataset = load(str(tmp_path), test_split="validation")
    assert (dataset.test.split, counts(dataset, "test")) == ("validation", {"cat": 1, "dog": 2})
