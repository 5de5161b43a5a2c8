"""Image folders as people have them: splits and classes are where files lie."""

import csv
import json
import os
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest

from shifts.common.errors import BadInput
from shifts.images.catalog import load
from shifts.sets.training import training_set
from tests.shifts.pictures import counts, notes, png, write, write_folder

WORDS = ["train", "test", "validation", "val", "dev", "eval", "training_set", "test-set", "valid.1"]


def test_words_of_splits_in_the_names_of_classes_and_parents(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "test" / "train_data" / "val", ["car", *WORDS])
    dataset = load(str(root))
    assert counts(dataset) == dict.fromkeys(sorted(["car", *WORDS]), 4)
    assert counts(dataset, "test") == dict.fromkeys(sorted(["car", *WORDS]), 2)
    assert dataset.validation is None
    assert dataset.notes == ()


@pytest.mark.parametrize("name", ["train{:03}.png", "test {}.png", "val-{}.png", "{}_train_test.png"])
def test_words_of_splits_in_the_names_of_files(tmp_path: Path, name: str) -> None:
    dataset = load(str(write_folder(tmp_path / "data", ["car", "dog"], name=name.format)))
    assert (counts(dataset), counts(dataset, "test")) == ({"car": 4, "dog": 4}, {"car": 2, "dog": 2})


@pytest.mark.parametrize(
    "splits", [("Train", "TEST"), ("training", "eval"), ("seg_train", "seg_test"), ("t-train", "val")]
)
def test_other_names_of_splits(tmp_path: Path, splits: tuple[str, str]) -> None:
    root = write_folder(tmp_path / "data", ["car", "dog"], dict(zip(splits, (4, 2), strict=True)))
    dataset = load(str(root))
    assert (counts(dataset), counts(dataset, "test")) == ({"car": 4, "dog": 4}, {"car": 2, "dog": 2})
    assert dataset.test.split == ("validation" if splits[1] == "val" else "test")


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", ["car", "dog"], {"train": 2, "test": 2, "eval": 2})
    with pytest.raises(BadInput, match="eval and test are both the test split"):
        load(str(root))
    root = write_folder(tmp_path / "more", ["car", "dog"], {"train": 2, "my_train": 2, "test": 2})
    assert counts(load(str(root))) == {"car": 2, "dog": 2}
    assert "left out: files beside the splits (4, such as my_train/car/0.png)" in notes(load(str(root)))


def test_any_depth_under_a_class_and_doubled_folders(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        for kind, name in enumerate(("cat", "dog")):
            for i in range(count):
                write(tmp_path / "deep" / split / name / ["2020", "2021/may"][i % 2] / f"{i}.png", png(kind, i))
                write(tmp_path / "doubled" / split / split / name / f"{i}.png", png(kind, i))
                write(tmp_path / "wrapped" / "archive" / "data" / split / name / f"{i}.png", png(kind, i))
    for name in ("deep", "doubled", "wrapped"):
        dataset = load(str(tmp_path / name))
        assert (counts(dataset), counts(dataset, "test")) == ({"cat": 3, "dog": 3}, {"cat": 2, "dog": 2}), name


def test_what_is_left_out_is_said_with_its_count(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", ["car", "dog"])
    for path in ("train/car/.ipynb_checkpoints/0-checkpoint.png", "train/car/._0.png", "test/.hidden/1.png"):
        write(root / path, png(0))
    for path in ("train/.DS_Store", "test/car/Thumbs.db", "__MACOSX/train/car/0.png"):
        write(root / path, b"x")
    write(root / "train/dog/notes.txt", b"text")
    write(root / "train/plot.png", png(0))
    write(root / "preview.png", png(0))
    write(root / "extra/car/1.png", png(0))
    dataset = load(str(root))
    assert (counts(dataset), counts(dataset, "test")) == ({"car": 4, "dog": 4}, {"car": 2, "dog": 2})
    assert notes(dataset).splitlines() == [
        "left out: files beside the splits (2, such as extra/car/1.png)",
        "left out: files that are no images (1, such as train/dog/notes.txt)",
        "left out: hidden files (6, such as __MACOSX/train/car/0.png)",
        "left out: images beside the class folders (1, such as train/plot.png)",
    ]


def test_classes_that_look_like_something_else(tmp_path: Path) -> None:
    names = ["__background__", "a*b", "[x]", "a?b", "{1,2}", "10", "2", "a::b", "a b ", "%20", "#1", "-"]
    dataset = load(str(write_folder(tmp_path / "data", names)))
    assert counts(dataset) == dict.fromkeys(sorted(names), 4)
    assert dataset.class_names[:2] == ("#1", "%20")


def test_a_path_is_a_path(tmp_path: Path) -> None:
    write_folder(tmp_path / "a*b", ["car", "dog"])
    write_folder(tmp_path / "aXb", ["eel", "fox"])
    write_folder(tmp_path / "[ab]{c,d}::e", ["gnu", "hen"])
    assert set(counts(load(str(tmp_path / "a*b")))) == {"car", "dog"}
    assert set(counts(load(str(tmp_path / "[ab]{c,d}::e")))) == {"gnu", "hen"}


def test_names_that_are_no_text(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", ["car", "dog"])
    odd = os.fsencode(root / "train" / "car") + b"/\xff\xfe.png"
    Path(os.fsdecode(odd)).write_bytes(png(0, 99))
    dataset = load(str(root))
    assert counts(dataset) == {"car": 5, "dog": 4}
    assert dataset.train.images(np.arange(9)).shape == (9, 4, 4, 3)


def test_suffixes(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", ["car", "dog"])
    for name in ("1.PNG", "none", "photo.orig", "a.b.png"):
        write(root / "train" / "car" / name, png(0, 7))
    assert counts(load(str(root))) == {"car": 8, "dog": 4}


def test_unicode_forms_of_one_name(tmp_path: Path) -> None:
    composed, apart = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    root = tmp_path / "data"
    write_folder(root, ["日本 語", composed], {"train": 3})
    write_folder(root, ["日本 語", apart], {"test": 2})
    assert counts(load(str(root)), "test") == {composed: 2, "日本 語": 2}
    write(root / "train" / apart / "9.png", png(0))
    with pytest.raises(BadInput, match=r"two classes .* are both called 'café', in two Unicode forms"):
        load(str(root))


def test_a_link_is_followed_and_a_circle_ends(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", ["car", "dog"])
    write(tmp_path / "elsewhere" / "0.png", png(2))
    (root / "train" / "eel").symlink_to(tmp_path / "elsewhere")
    (root / "test" / "eel").symlink_to(tmp_path / "elsewhere")
    (root / "train" / "car" / "up").symlink_to(root)
    (root / "train" / "car" / "gone.png").symlink_to(tmp_path / "nothing.png")
    dataset = load(str(root))
    assert counts(dataset, "test") == {"car": 2, "dog": 2, "eel": 1}
    assert counts(dataset)["eel"] == 1


def test_classes_of_one_split_only(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", ["car", "dog"])
    (root / "train" / "empty").mkdir()
    assert set(counts(load(str(root)))) == {"car", "dog"}
    write(root / "test" / "eel" / "0.png", png(1))
    with pytest.raises(BadInput, match="label 'eel' of test image 4 does not occur in the train split"):
        load(str(root))
    write(root / "train" / "eel" / "0.png", png(1))
    write(root / "train" / "fox" / "0.png", png(1))
    with pytest.raises(BadInput, match=r"class 3 \(fox\) has no image in the test split"):
        load(str(root))


def test_folders_without_splits(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for kind, name in enumerate(("car", "dog", "train")):
        for i in range(10):
            write(root / name / f"{i}.png", png(kind, i))
    with pytest.raises(BadInput, match=r"make train/CLASS.* or give --test-fraction 0.2"):
        load(str(root))
    dataset = load(str(root), test_fraction=0.3)
    assert counts(dataset) == {"car": 7, "dog": 7, "train": 7}
    assert counts(dataset, "test") == {"car": 3, "dog": 3, "train": 3}
    content = {c for images in (dataset.train, dataset.test) for c in images.encoded(range(len(images)))}
    assert len(content) == 30
    assert dataset.origins["test"] == "9 of 30 images of CLASS/* (--test-fraction 0.3)"
    assert load(str(root), test_fraction=0.3).train.fingerprint == dataset.train.fingerprint
    flat = tmp_path / "flat"
    for split in ("train", "test"):
        write(flat / split / "0.png", png(0))
    with pytest.raises(BadInput, match="holds images, but no train and test folders with a folder for each class"):
        load(str(flat))


def test_a_folder_with_train_alone(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", ["car", "dog"], {"train": 10})
    with pytest.raises(BadInput, match=r"has no test split .*; it has: train; --test-fraction 0.2 takes test images"):
        load(str(root))
    assert counts(load(str(root), test_fraction=0.2), "test") == {"car": 2, "dog": 2}
    write_folder(root, ["car", "dog"], {"test": 1})
    with pytest.raises(BadInput, match="has a split to test on, test; --test-fraction is for data without one"):
        load(str(root), test_fraction=0.2)


def test_test_split(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", ["car", "dog"], {"train": 4, "test": 2, "val": 3})
    assert load(str(root)).test.split == "test"
    assert counts(load(str(root)), "validation") == {"car": 3, "dog": 3}
    other = load(str(root), test_split="validation")
    assert (other.test.split, other.validation) == ("validation", None)
    with pytest.raises(BadInput, match=r"has no split 'x' to test on .--test-split.; it has: test, validation"):
        load(str(root), test_split="x")


def test_zip_archives(tmp_path: Path) -> None:
    root = tmp_path / "zips"
    root.mkdir()
    for split, count, inside in (("train", 3, "train/"), ("test", 2, "")):
        with zipfile.ZipFile(root / f"{split}.zip", "w") as archive:
            for kind, name in enumerate(("cat", "test")):
                for i in range(count):
                    archive.writestr(f"{inside}{name}/{i}.png", png(kind, i))
            archive.writestr(f"__MACOSX/{name}/._0.png", b"x")
    dataset = load(str(root))
    assert (counts(dataset), counts(dataset, "test")) == ({"cat": 3, "test": 3}, {"cat": 2, "test": 2})
    assert "left out: hidden files (2, such as test.zip/__MACOSX/test/._0.png)" in notes(dataset)
    assert training_set(dataset).n == 6
    write_folder(tmp_path / "plain", ["cat", "test"], {"train": 3, "test": 2}, "{}.png".format)
    assert dataset.train.images(np.arange(6)).shape == (6, 4, 4, 3)
    (root / "train.zip").write_bytes(b"PK no archive")
    with pytest.raises(BadInput, match="cannot be read as a zip archive"):
        load(str(root))


# --------------------------------------------------------------------------------------------------- metadata files


def described(
    root: Path, labels: list[str], name: str = "metadata.csv", splits: tuple[str, ...] = ("train", "test")
) -> Path:
    """Flat images with a metadata file in each split's folder."""
    for split in splits:
        for i, _ in enumerate(labels):
            write(root / split / f"{i}.png", png(0, i))
        with (root / split / "metadata.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["file_name", "label"], *([f"{i}.png", x] for i, x in enumerate(labels))])
    return root


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["EU", "NA", "NA"], {"EU": 1, "NA": 2}),
        (["007", "010", "7"], {"007": 1, "010": 1, "7": 1}),
        (["True", "False", "True"], {"False": 1, "True": 2}),
        (["null", "nan", "None"], {"None": 1, "nan": 1, "null": 1}),
        (["1.0", "2.0", "1.0"], {"1.0": 2, "2.0": 1}),
        (["0", "2", "10"], {"0": 1, "2": 1, "10": 1}),
    ],
)
def test_labels_in_a_metadata_file_are_as_written(tmp_path: Path, labels: list[str], names: dict[str, int]) -> None:
    assert counts(load(str(described(tmp_path / "data", labels)))) == names


def test_metadata_of_both_splits_above_them(tmp_path: Path) -> None:
    root, lines = tmp_path / "data", []
    for split in ("train", "test"):
        for i in range(4):
            write(root / split / f"{i}.png", png(i % 2, i))
            lines.append({"file_name": f"./{split}/{i}.png", "kind": ["cat", "dog"][i % 2]})
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    with pytest.raises(BadInput, match="name its label column with --label-column; it has: image, kind"):
        load(str(root))
    assert counts(load(str(root), label_column="kind"), "test") == {"cat": 2, "dog": 2}
    write(root / "test" / "new.png", png(0))
    assert "left out: images that no metadata names (1, such as test/new.png)" in notes(
        load(str(root), None, None, "kind")
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "test" / "metadata.csv").unlink(), "no metadata file names an image of test/"),
        (lambda root: (root / "test" / "1.png").unlink(), "row 2: there is no image 1.png"),
        (lambda root: (root / "test" / "metadata.csv").write_text("file,label\n0.png,a\n"), "has no column file_name"),
        (lambda root: (root / "test" / "metadata.csv").write_text("file_name,label\n0.png,\n"), "have no label in"),
        (lambda root: (root / "test" / "metadata.csv").write_text("file_name,label\n0.png\n"), "line 2: 1 cells inst"),
        (lambda root: (root / "test" / "metadata.csv").write_text("file_name,label\n0.png,a\n./0.png,b\n"), "twice"),
        (
            lambda root: (root / "test" / "metadata.csv").write_bytes(b"file_name,label\n0.png,\xff\n"),
            "not a text file",
        ),
        (lambda root: (root / "test" / "metadata.csv").write_text(""), "holds no rows"),
    ],
)
def test_bad_metadata(tmp_path: Path, change: object, message: str) -> None:
    root = described(tmp_path / "data", ["a", "b"])
    change(root)  # type: ignore[operator]
    with pytest.raises(BadInput, match=message):
        load(str(root))


def test_class_folders_go_before_a_metadata_file(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", ["car", "dog"])
    for split, count in (("train", 4), ("test", 2)):
        rows = [
            ["file_name", "label"],
            *([f"{name}/{i}.png", "x" if i else "y"] for name in ("car", "dog") for i in range(count)),
        ]
        with (root / split / "metadata.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
    assert set(counts(load(str(root)))) == {"car", "dog"}
    assert counts(load(str(root), label_column="label")) == {"x": 6, "y": 2}
