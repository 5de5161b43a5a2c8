"""Lists of files as people have them: other separators, marks and ends of lines, contradictions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shifts.common.errors import BadInput
from shifts.images.catalog import load
from shifts.labels.shift import Shift
from shifts.sets.resolve import resolve
from tests.shifts.pictures import counts, png, write

Lines = list[tuple[str, int]]


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Path]:
    """Write Places-LT's lists over small images; change: of the text of each list."""

    def make(change: Callable[[Lines, str], str]) -> Path:
        for split, size in (("train", 4), ("test", 2)):
            lines = [(f"{split}/c {c}/{i}.png", c) for c in range(3) for i in range(size)]
            for number, (path, c) in enumerate(lines):
                write(tmp_path / path, png(c, number))
            text = change(lines, split)
            (tmp_path / f"Places_LT_{split}.txt").write_bytes(text.encode())
        return tmp_path

    return make


def plain(lines: Lines, separator: str = " ", end: str = "\n", before: str = "", first: int = 0) -> str:
    return end.join(f"{before}{path}{separator}{label + first}" for path, label in lines)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines, _: plain(lines),
        lambda lines, _: plain(lines, end="\r\n"),
        lambda lines, _: plain(lines, separator="\t"),
        lambda lines, _: "\ufeff" + plain(lines) + "\n\n",
        lambda lines, _: plain(lines, before="./"),
    ],
)
def test_forms(listed: Callable[..., Path], change: Callable[[Lines, str], str]) -> None:
    dataset = load("places_lt", listed(change))
    assert (counts(dataset), counts(dataset, "test")) == ({"0": 4, "1": 4, "2": 4}, {"0": 2, "1": 2, "2": 2})
    assert dataset.train.images(np.array([0]))[0].shape == (4, 4, 3)


def test_numbers_from_one(listed: Callable[..., Path], tmp_path: Path) -> None:
    """The class 0 that nobody has is left out, and a shift's list goes on with the numbers of the lines."""
    dataset = load("places_lt", listed(lambda lines, _: plain(lines, first=1)))
    assert dataset.class_names == ("1", "2", "3")
    assert "left out: classes without any image (1, such as 0)" in [note.text for note in dataset.notes]
    (tmp_path / "mine.txt").write_text("./test/c 2/1.png 3\ntest/c 0/0.png 1\n")
    indices, _ = resolve(dataset, Shift("list", path=str(tmp_path / "mine.txt")), dataset.train.class_counts())
    assert indices.tolist() == [5, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda lines, _: plain([*lines, lines[0]]),
            r"LT_train.txt, line 13: .* stands in .*_train.txt, line 1 ",
        ),
        (lambda lines, _: plain([*lines, (lines[0][0], 2)]), "line 13: .* stands in"),
        (lambda lines, _: plain([*lines, ("./" + lines[0][0], 0)]), "line 13: ./train/c 0/0.png stands in"),
        (
            lambda lines, _: plain([*lines, ("train/c 0/0.png", 0)][-7:]),
            r"LT_test.txt, line 7: train/c 0/0.png st",
        ),
        (lambda lines, _: plain(lines)[:-3], "line 12: .* is not `path label`"),
        (lambda lines, _: plain(lines, separator=","), r"line 1: 'train/c 0/0.png,0' is not `path label`"),
        (lambda lines, _: plain(lines).replace("/", "\\"), "which is not under"),
        (
            lambda lines, s: plain(lines) if s == "train" else plain(lines, first=1),
            r"label 3 of test image 4 is out",
        ),
        (lambda lines, _: "", "is empty"),
        (lambda lines, _: plain(lines).replace(" 1", " -1"), "is not `path label`"),
    ],
)
def test_contradictions(listed: Callable[..., Path], change: Callable[[Lines, str], str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load("places_lt", listed(change))
