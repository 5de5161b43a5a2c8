"""The check-up before a long training: what was understood, what is odd, and that it is found once."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shifts.checks import facts as facts_module
from shifts.checks.checkup import check_up, checked
from shifts.checks.facts import facts
from shifts.common.errors import BadInput
from shifts.describe import main
from shifts.images.catalog import load
from tests.shifts.pictures import picture, png, write, write_folder

Form = Callable[[Image.Image], bytes]


def encoded(image: Image.Image, form: str, **how: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **how)
    return stream.getvalue()


def told(root: Path) -> dict[str, str]:
    """Text of each note of a folder's check-up by its kind."""
    return {note.kind: note.text for note in check_up(load(str(root))).notes}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", ["car", "dog"], {"train": 6, "test": 6})


def test_nothing_is_odd(root: Path) -> None:
    found = check_up(load(str(root)))
    assert found.notes == ()
    assert found.facts["train"].summary.modes == {"RGB": 12}
    assert checked(load(str(root))).notes == ()


def test_equal_images_by_decoded_pixels(root: Path) -> None:
    same = picture(0, 77)
    write(root / "train/car/0.png", encoded(same, "PNG"))
    write(root / "train/car/1.bmp", encoded(same, "BMP"))
    write(root / "test/dog/3.png", encoded(same.convert("RGBA"), "PNG"))
    write(root / "test/dog/4.png", encoded(picture(3, 5).convert("L"), "PNG"))
    write(root / "test/dog/5.png", encoded(picture(3, 5).convert("L").convert("RGB"), "PNG"))
    notes = told(root)
    assert notes["equal_across"] == (
        "equal images in different splits: 1 groups, train image 0 (train/car/0.png) and test image 9 (test/dog/3.png) "
        "for one"
    )
    assert notes["equal_within"].startswith("equal images within the test split: 1 groups, test image 10 ")
    assert notes["two_labels"].startswith("equal images under different labels: 1 groups, train image 0 ")
    assert notes["two_labels"].endswith("of car and test image 9 (test/dog/3.png) of dog for one")


def test_images_that_cannot_be_decoded_are_found_in_both_splits_before_any_training(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root / "train/car/1.png", png(0)[:50])
    write(root / "test/dog/3.png", b"")
    write(root / "test/dog/4.png", encoded(Image.fromarray(np.full((4, 4), 9000, np.uint16)), "PNG"))
    notes = [note.text for note in check_up(load(str(root))).notes if note.kind == "undecodable"]
    assert notes[0].startswith(
        "images that cannot be decoded: 1; data train: cannot decode image 1 (train/car/1.png): "
    )
    assert notes[1].startswith("images that cannot be decoded: 2; data test: cannot decode image 9 (test/dog/3.png): ")
    with pytest.raises(BadInput, match=r"train/car/1.png.*; images that cannot be decoded: 2"):
        checked(load(str(root)))
    assert main(["--dataset", str(root), "--strict"]) == 2
    assert "error: --strict: images that cannot be decoded: 1" in capsys.readouterr().err


def test_a_missing_file_is_an_image_that_cannot_be_decoded(list_root: Path) -> None:
    (list_root / "test/1/2.png").unlink()
    with pytest.raises(BadInput, match=r"decoded: 1; places_lt-like test: cannot read an image: .*2.png"):
        checked(load("places_lt", list_root))


def test_turned_images(tmp_path: Path) -> None:
    """Pixels and sizes are what a person sees, as `datasets` decodes them."""
    import datasets

    root = write_folder(tmp_path / "data", ["car", "dog"], {"train": 5, "test": 5})
    plain = load(str(root)).test.fingerprint
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for form in ("PNG", "JPEG", "TIFF", "WEBP"):
            how = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "JPEG" else {}
            content = encoded(picture(1, orientation, (6, 9)), form, exif=exif, **how)
            write(root / "test/dog" / f"{form}{orientation}.img", content)
            seen = np.asarray(datasets.Image().decode_example({"bytes": content, "path": None}).convert("RGB"))
            dataset = load(str(root))
            index = [dataset.test.store.where(i) for i in range(len(dataset.test))].index(
                f"test/dog/{form}{orientation}.img"
            )
            assert next(dataset.test.decoded([index])).tolist() == seen.tolist(), (form, orientation)
    assert "test images are stored turned and taken as seen (EXIF)" in told(root)["turned"]
    assert load(str(root)).test.fingerprint != plain
    sideways = tmp_path / "sideways"
    for split in ("train", "test"):
        for name in ("a", "b"):
            exif = Image.Exif()
            exif[0x0112] = 6
            write(sideways / split / name / "0.jpg", encoded(picture(0, 1, (6, 9)), "JPEG", exif=exif))
    assert load(str(sideways)).train.image_shape() == (9, 6, 3)


def test_appearance_and_classes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("1", "2", "10"):
        for i in range(5):
            pixels = np.asarray(picture(0, i)).copy()
            pixels[..., 2] = 0
            write(root / "train" / name / f"{i}.png", encoded(Image.fromarray(pixels), "PNG"))
            write(root / "test" / name / f"{i}.png", encoded(picture(1, i).convert("L"), "PNG"))
    (root / "test" / "10" / "3.png").unlink()
    notes = told(root)
    assert notes["no_spread"] == "no spread in the train split: channels B have one value everywhere"
    assert notes["modes"] == "train images are colour, test images grey"
    assert notes["tiny"] == "tiny classes in the test split: 1 with fewer than 5 images, 10 (4) for one"
    assert notes["order"] == "classes stand in the order of text: 1, 10, 2, ..."


def test_many_modes_are_quiet(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    forms: list[Form] = [
        lambda image: encoded(image.quantize(8), "PNG", transparency=bytes([0, 128, 255])),
        lambda image: encoded(image.convert("RGBA"), "PNG"),
        lambda image: encoded(image.convert("LA"), "PNG"),
        lambda image: encoded(image.convert("1"), "PNG"),
        lambda image: encoded(image.convert("CMYK"), "JPEG"),
        lambda image: encoded(image, "GIF"),
    ]
    for split in ("train", "test"):
        for kind, name in enumerate("ab"):
            for i, form in enumerate(forms):
                write(tmp_path / split / name / f"{i}.png", form(picture(kind, i + 10 * (split == "test"))))
    dataset = checked(load(str(tmp_path)))
    assert dataset.train.images(np.arange(12)).shape == (12, 4, 4, 3)
    assert capfd.readouterr().err == ""
    assert not [warning for warning in recwarn if "ransparency" in str(warning.message)]


def test_the_images_are_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [facts(images) for images in (load(str(root)).train, load(str(root)).test)]
    monkeypatch.setattr(facts_module, "_decoded", lambda images: pytest.fail("decoded again"))
    after = [facts(images) for images in (load(str(root)).train, load(str(root)).test)]
    for one, other in zip(before, after, strict=True):
        assert one is not None
        assert other is not None
        assert one.summary == other.summary
        assert (one.pixels == other.pixels).all()
        assert (one.sizes == other.sizes).all()
    write(root / "train/car/0.png", png(5, 55))
    with pytest.raises(pytest.fail.Exception, match="decoded again"):
        facts(load(str(root)).train)
    assert facts(load(str(root)).train, decode=False) is None
    partly = check_up(load(str(root)), decode=False)
    assert set(partly.facts) == {"test"}, "what is remembered of one split, and nothing decoded"


def test_a_damaged_memory_is_none(root: Path) -> None:
    images = load(str(root)).train
    first = facts(images)
    path = facts_module._memory(images)
    assert path is not None
    path.write_bytes(path.read_bytes()[:100])
    again = facts(images)
    assert first is not None
    assert again is not None
    assert again.summary == first.summary


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check-up is printed where the default shift cannot be drawn, with one line for each oddity."""
    write(root / "train/notes.txt", b"x")
    assert main(["--dataset", str(root)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[2:6] == [
        "train: 12 images, 6 a class; 4 x 4, RGB; from train/CLASS/*",
        "test: 12 images, 6 a class; 4 x 4, RGB; from test/CLASS/*",
        "labels: folders train/CLASS; classes in this order: car, dog",
        "odd: left out: files that are no images (1, such as train/notes.txt)",
    ]
    assert err.startswith("note: backward_lt-50 is not shown: backward_lt ratio 50 leaves")
    assert max(map(len, out.splitlines())) <= 100
    assert main(["--dataset", str(root), "--json", "--shift", "uniform", "natural", "--strict"]) == 2
    out, err = capsys.readouterr()
    assert err == "error: --strict: left out: files that are no images (1, such as train/notes.txt)\n"
    rows = json.loads(out)
    assert [row["shift"] for row in rows] == ["uniform", "natural"]
    assert rows[0]["data"]["class_names"] == ["car", "dog"]
    assert rows[0]["data"]["splits"]["train"]["sizes"] == [[4, 4]]
    assert [note["kind"] for note in rows[0]["data"]["notes"]] == ["left_out"]
    (root / "train/notes.txt").unlink()
    assert main(["--dataset", str(root), "--strict", "--shift", "uniform"]) == 0
