"""Every way in which a dataset can come, and every way in which it can be wrong."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shifts.common.errors import BadInput, WorkFailed
from shifts.images.catalog import channel_statistics, load
from shifts.images.entries import ENTRIES, names
from shifts.images.reading import hub
from shifts.labels.draw import indices_sha256
from shifts.labels.shift import Shift
from shifts.sets.export import export
from shifts.sets.resolve import resolve
from shifts.sets.training import training_set
from tests.shifts.conftest import columns, encode

Folder = Callable[..., Path]


def test_embedded() -> None:
    dataset = load("embedded")
    assert dataset.train.class_counts().tolist() == [500] * 10
    assert dataset.test.class_counts().tolist() == [500] * 10
    assert dataset.train.image_shape() == (28, 28, 1)
    assert dataset.class_names[9] == "Ankle boot"
    assert dataset.train.labels[:8].tolist() == [9, 0, 0, 3, 0, 2, 7, 2]  # the originals' order
    assert dataset.train.fingerprint == "d4847eada819424ea1df452ceb4a9d653133fb2eace93da89fa2899e48fb856a"
    training = training_set(dataset)
    assert (training.n, training.imbalance, training.counts[-1]) == (1236, 100.0, 5)
    assert training.indices_sha256.startswith("0fe05a2af41c")
    mean, std = dataset.normalisation
    np.testing.assert_allclose(channel_statistics(dataset.train), [mean, std], atol=1e-4)


def test_importing_the_catalog_is_light() -> None:
    heavy = ("datasets", "PIL", "pyarrow", "torch")
    code = f"import shifts.sets.arguments, sys; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_names() -> None:
    assert [name for name, _ in names()][: len(ENTRIES)] == [entry.name for entry in ENTRIES]


def test_parquet_with_and_without_class_labels(table_folder: Folder) -> None:
    plain = load(str(table_folder(name="plain")))
    named = load(str(table_folder(name="named", names=["x", "y", "z"])))
    assert plain.class_names == ("0", "1", "2")
    assert named.class_names == ("x", "y", "z")
    assert (plain.name, plain.rank_by_index) == ("plain", False)
    assert plain.train.fingerprint == named.train.fingerprint != plain.test.fingerprint
    assert training_set(plain).profile == "natural"
    held = training_set(plain, profile="natural:holdout=3", seed=1)
    assert (held.counts.tolist(), held.n, held.imbalance) == ([17] * 3, 51, None)
    assert held.describe() == "natural:holdout=3 (seeded-shuffle, subset seed 1)"
    with pytest.raises(BadInput, match="profile natural takes the classes as they are; a train imbalance of 4 does"):
        training_set(plain, 4, "natural")
    drawn = training_set(plain, imbalance=4)
    assert drawn.counts.tolist() == [20, 10, 5]
    assert plain.normalisation[0].shape == (3,)


def test_string_labels_save_to_disk_and_options(table_folder: Folder, tmp_path: Path) -> None:
    import datasets

    renamed = {}
    for split, per_class in (("train", 4), ("validation", 2)):
        content = columns(per_class)
        kinds = [f"k{label}" for label in content["label"]]
        table = datasets.Dataset.from_dict({"photo": content["image"], "kind": kinds, "other": kinds})
        renamed[split] = table.cast_column("photo", datasets.Image())
    datasets.DatasetDict(renamed).save_to_disk(tmp_path / "saved")
    dataset = load(str(tmp_path / "saved"), label_column="kind")
    assert dataset.class_names == ("k0", "k1", "k2")
    assert dataset.test.split == "validation"
    assert dataset.test.images(np.array([1, 0])).shape == (2, 6, 4, 1)
    with pytest.raises(BadInput, match="name its label column with --label-column; it has: photo, kind, other"):
        load(str(tmp_path / "saved"))
    renamed["train"].save_to_disk(tmp_path / "single")
    with pytest.raises(BadInput, match="holds one split"):
        load(str(tmp_path / "single"))


def test_a_validation_split_besides_the_test_split(table_folder: Folder, list_root: Path, tmp_path: Path) -> None:
    dataset = load(str(table_folder(validation=columns(4, 200))))
    assert dataset.validation is not None
    assert (dataset.test.split, dataset.validation.split) == ("test", "validation")
    assert dataset.validation.class_counts().tolist() == [4, 4, 4]
    assert load(str(table_folder(name="plain"))).validation is None
    # of no use to an estimator that needs every class
    lacking = {"image": columns(1)["image"][:2], "label": [0, 1]}
    assert load(str(table_folder(name="lacking", validation=lacking))).validation is None
    # nor one without labels
    unlabelled = {"image": columns(1)["image"], "label": [-1, -1, -1]}
    assert load(str(table_folder(name="unlabelled", validation=unlabelled))).validation is None
    # a natural training set takes it along, a drawn one has images that its draw left out
    for name, imbalance, held in (("natural", "natural", True), ("drawn", 4.0, False)):
        export(dataset, training_set(dataset, imbalance), tmp_path / name)
        again = load(str(tmp_path / name)).validation
        assert (again is not None) == held
        assert again is None or again.fingerprint == dataset.validation.fingerprint
    assert load("places_lt", list_root).validation is None
    shutil.copytree(list_root / "test", list_root / "val")
    (list_root / "Places_LT_val.txt").write_text("".join(f"val/{c}/0.png {c}\n" for c in range(3)))
    listed = load("places_lt", list_root).validation
    assert listed is not None
    assert listed.labels.tolist() == [0, 1, 2]


def test_image_folder_and_a_broken_image(image_folder: Path) -> None:
    dataset = load(str(image_folder))
    assert dataset.class_names == ("ant", "bee", "cat")
    assert dataset.train.images(np.array([0, 17]))[:, 0, 0, 0].tolist() == [0, 105]
    fingerprint = dataset.train.fingerprint
    shutil.copytree(image_folder, image_folder.parent / "copy")
    assert load(str(image_folder.parent / "copy")).train.fingerprint == fingerprint
    (image_folder / "train" / "bee" / "1.png").write_bytes(encode()[:40])
    with pytest.raises(WorkFailed, match=r"pictures train: cannot decode image 7 \(.*bee/1.png\)"):
        dataset.train.images(np.arange(10))
    (image_folder / "train" / "bee" / "1.png").write_bytes(b"text")
    with pytest.raises(WorkFailed, match=r"image 7 .*no known image format"):
        dataset.train.images(np.arange(10))
    (image_folder / "train" / "bee" / "1.png").unlink()
    with pytest.raises(WorkFailed, match="cannot read an image"):
        dataset.train.images(np.arange(10))


def test_modes_and_sizes(table_folder: Folder) -> None:
    train = columns(4)
    for index, mode in enumerate(["L", "RGB", "RGBA", "P", "1", "LA"]):
        train["image"][index] = {"bytes": encode(mode), "path": None}
    train["image"][11] = {"bytes": encode(size=(5, 5)), "path": "odd.png"}
    train["image"][10] = None
    images = load(str(table_folder(train=train))).train
    with pytest.raises(WorkFailed, match="image 10 is missing"):
        images.images(np.array([9, 10]))
    assert images.images(np.array([0, 4])).shape == (2, 6, 4, 1)
    mixed = images.images(np.arange(6))
    assert mixed.shape == (6, 6, 4, 3)
    assert mixed.dtype == np.uint8
    assert (mixed[1] == 7).all()
    assert images.images(np.array([], dtype=np.int64)).shape == (0, 6, 4, 1)
    with pytest.raises(WorkFailed, match=r"different image sizes, 4 x 6 and 5 x 5 \(image 11\); the recipe does"):
        images.images(np.array([0, 11]))


def test_list_files(list_root: Path) -> None:
    dataset = load("places_lt", list_root)
    training = training_set(dataset)
    assert training.counts.tolist() == [4, 9, 2]
    assert dataset.test.images(np.array([3])).shape == (1, 6, 4, 1)
    indices, origin = resolve(dataset, Shift("forward_lt", 3), training.counts)
    # The class with most training images comes first: 3, 1.7, 1 images.
    assert np.bincount(dataset.test.labels[indices]).tolist() == [1, 3, 1]
    assert origin == "generated"
    listed = list_root / "mine.txt"
    listed.write_text("test/2/1.png 2\ntest/0/0.png 0\n")
    indices, origin = resolve(dataset, Shift("list", path=str(listed)), training.counts)
    assert (indices.tolist(), origin) == ([7, 0], "generated")
    assert resolve(dataset, Shift("uniform"), training.counts)[1] == "generated"
    for line, message in [
        ("test/9/9.png 1", "not a path of the places_lt-like test pool"),
        ("test/2/1.png 1", "label 1 of test/2/1.png; the pool says 2"),
        ("test/2/1.png 2\ntest/2/1.png 2", "twice"),
        ("test/2/1.png", "line 1: .* is not"),
        ("", "is empty"),
    ]:
        listed.write_text(line)
        with pytest.raises(BadInput, match=message):
            resolve(dataset, Shift("list", path=str(listed)), training.counts)


def test_index_list(table_folder: Folder, tmp_path: Path) -> None:
    dataset = load(str(table_folder()))
    listed = tmp_path / "mine.txt"
    listed.write_text("4 1\n0 0\n\n29 2\n")
    counts = dataset.train.class_counts()
    assert resolve(dataset, Shift("list", path=str(listed)), counts)[0].tolist() == [4, 0, 29]
    listed.write_text("30 0\n")
    with pytest.raises(BadInput, match="30 is not an index below 30"):
        resolve(dataset, Shift("list", path=str(listed)), counts)


def test_redraws_differ_and_uniform_is_one_draw(table_folder: Folder) -> None:
    dataset = load(str(table_folder()))
    counts = np.array([20, 10, 5])
    shift = Shift("backward_lt", 5)
    hashes = {indices_sha256(resolve(dataset, shift, counts, seed)[0]) for seed in range(5)}
    assert len(hashes) == 5
    assert len({indices_sha256(resolve(dataset, Shift("uniform"), counts, s)[0]) for s in range(3)}) == 1


def bad(change: Callable[[dict[str, list[Any]]], Any]) -> dict[str, list[Any]]:
    content = columns(4)
    change(content)
    return content


@pytest.mark.parametrize(
    ("split", "change", "message"),
    [
        ("both", lambda c: c.pop("label"), "name its label column with --label-column; it has: image"),
        ("both", lambda c: c.pop("image"), "name its image column with --image-column; it has: label"),
        ("both", lambda c: c.update(image=list(range(12))), "holds no images"),
        (
            "train",
            lambda c: c.update(label=[-1, *c["label"][1:]]),
            "label -1 of train image 0 is out of range 0..2",
        ),
        (
            "test",
            lambda c: c.update(label=[*c["label"][:-1], 3]),
            "label 3 of test image 11 is out of range 0..2",
        ),
        (
            "train",
            lambda c: c.update(label=[None, *c["label"][1:]]),
            "1 images of the train split have no label",
        ),
        ("test", lambda c: c.pop("label"), r"data \(test split\) has no column 'label' .*; it has: image"),
        ("test", lambda c: c.update(label=["x"] * 12), "labels of train are numbers, those of test are names"),
        ("both", lambda c: c.update(label=[0.5] * 12), "holds double, neither whole numbers nor names"),
        ("train", lambda c: c.update(label=[0, 2] * 6), r"class 1 \(1\) has no image in the train split"),
        ("test", lambda c: c.update(label=[0, 2] * 6), r"class 1 \(1\) has no image in the test split"),
        ("train", lambda c: c.clear(), "has no train split; it has: test"),
        ("test", lambda c: c.clear(), r"has no test split \(test, validation, valid or val\); it has: train"),
    ],
)
def test_bad_tables(
    table_folder: Folder,
    split: str,
    change: Callable[[dict[str, list[Any]]], Any],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = table_folder(**{s: bad(change) for s in ("train", "test") if split in (s, "both")})
    capfd.readouterr()  # Writing the tables may have shown a progress bar.
    with pytest.raises(BadInput, match=message):
        load(str(folder))
    # `datasets` logs failures of its own; the user gets our one line only.
    assert capfd.readouterr().err == ""


def test_one_class(table_folder: Folder) -> None:
    one = bad(lambda c: c.update(label=[0] * 12))
    with pytest.raises(BadInput, match="one class"):
        load(str(table_folder(train=one, test=one)))


def test_bad_places(tmp_path: Path, table_folder: Folder, list_root: Path) -> None:
    cases = [
        (("cifr100",), "unknown dataset 'cifr100'; allowed: cifar100, cifar10"),
        (("./nowhere",), "no such data folder: ./nowhere"),
        (("cifar10", tmp_path / "nowhere"), "no such data folder"),
        (("cifar10", table_folder()), "has no column 'img' .--image-column.; it has: image, label"),
        (("places_lt",), "needs --data-dir"),
        (("imagenet_lt", list_root), "holds no ImageNet_LT_train.txt"),
        (("places_lt", tmp_path / "nowhere"), "no such data folder"),
    ]
    for arguments, message in cases:
        with pytest.raises(BadInput, match=message):
            load(*arguments)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no data"):
        load(str(tmp_path / "empty"))
    (tmp_path / "torn").mkdir()
    for split in ("train", "test"):
        (tmp_path / "torn" / f"{split}-00000-of-00001.parquet").write_bytes(b"PAR1 but not more")
    with pytest.raises(BadInput, match="cannot be read as a dataset"):
        load(str(tmp_path / "torn"))


def test_an_unreachable_hub_fails_soon_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "PROBE_SECONDS", 1)
    start = time.perf_counter()
    with pytest.raises(BadInput, match=r"cannot reach the Hugging Face Hub for uoft-cs/cifar10 .* --data-dir"):
        load("cifar10")
    assert time.perf_counter() - start < 10
    assert datasets.config.HF_HUB_OFFLINE is False


@pytest.mark.skipif("CIFAR100_DIR" not in os.environ, reason="CIFAR100_DIR (CIFAR-100 in Hub layout) is not set")
def test_real_cifar100() -> None:
    dataset = load("cifar100", os.environ["CIFAR100_DIR"])
    training = training_set(dataset)
    assert (training.n, dataset.train.image_shape()) == (10_847, (32, 32, 3))
    indices, origin = resolve(dataset, Shift("backward_lt", 50), training.counts)
    assert (len(indices), origin) == (2486, "published")
    assert indices_sha256(indices).startswith("b527ba30e1da")
