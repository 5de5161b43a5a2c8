"""What is written is what is loaded, whatever things are called and in whatever order and form they come."""

import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from shifts.images.catalog import Dataset, load
from tests.shifts.pictures import counts, png, write

COMMON = "train test val dev eval validation training_set hidden images label 0 1 10 007 True NA nan"
ODD = "__x__ a.b a*b [a] {1} ??"
WORDS = COMMON.split() + ODD.split()
TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\0"), min_size=1, max_size=8)
NAMES = st.one_of(st.sampled_from(WORDS), TEXT).filter(
    lambda name: not name.startswith(".") and name not in ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini")
)


def distinct(names: list[str]) -> bool:
    """Whether names differ in more than case and Unicode form, as on any file system."""
    return len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names)


CLASSES = st.lists(NAMES, min_size=2, max_size=4, unique=True).filter(distinct)
PLACES = st.lists(st.sampled_from(["", "deep", "a/b", "train", "test/val"]), min_size=1, max_size=3)


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder; hypothesis calls a test many times with one `tmp_path`."""
    path = Path(tempfile.mkdtemp())
    try:
        yield path
    finally:
        shutil.rmtree(path)


def write_classes(
    root: Path, classes: list[str], sizes: list[int], places: list[str], files: list[str]
) -> dict[str, int]:
    """Write the classes of one split; images a class by composed name."""
    written = {}
    for kind, (name, size) in enumerate(zip(classes, sizes, strict=False)):
        for i in range(size):
            file = f"{files[i % len(files)]}{i}.png"
            write(root / name / places[i % len(places)] / file, png(kind, i))
        written[unicodedata.normalize("NFC", name)] = size
    return written


@given(
    CLASSES,
    st.lists(st.integers(1, 4), min_size=4, max_size=4),
    PLACES,
    st.lists(NAMES.map(lambda name: name.strip(".") or "x"), min_size=1, max_size=3),
    st.lists(NAMES, max_size=2),
)
def test_counts_are_what_was_written(
    classes: list[str], sizes: list[int], places: list[str], files: list[str], parents: list[str]
) -> None:
    with folder() as root:
        root = root.joinpath(*parents)
        train = write_classes(root / "train", classes, sizes, places, files)
        test = write_classes(root / "test", classes, [1, 2, 1, 2], places, files)
        dataset = load(str(root))
        assert counts(dataset) == train
        assert counts(dataset, "test") == test
        assert list(dataset.class_names) == sorted(train)
        assert not dataset.notes


@given(CLASSES, CLASSES)
def test_other_names_change_no_count(classes: list[str], others: list[str]) -> None:
    """Renamed, a class has the same images: only the order of the classes may differ."""
    assume(len(classes) == len(others))
    with folder() as root:
        found = []
        for place, names in (("a", classes), ("b", others)):
            for split in ("train", "test"):
                write_classes(root / place / split, names, [1, 2, 3, 4], [""], ["x"])
            found.append(_by_class(load(str(root / place))))
        assert sorted(found[0].values()) == sorted(found[1].values())


def _by_class(dataset: Dataset) -> dict[str, list[bytes]]:
    images = {name: [] for name in dataset.class_names}  # type: dict[str, list[bytes]]
    for label, content in zip(dataset.train.labels, dataset.train.encoded(range(len(dataset.train))), strict=True):
        images[dataset.class_names[label]].append(content)
    return {name: sorted(contents) for name, contents in images.items()}


@given(CLASSES, st.permutations(range(8)))
def test_the_order_of_rows_changes_no_count_and_forms_agree(classes: list[str], order: list[int]) -> None:
    """The same data as a folder, Parquet, Arrow, `save_to_disk` and lists of files."""
    import datasets
    from pyarrow import ipc

    names = sorted(unicodedata.normalize("NFC", name) for name in classes)
    assume(len(set(names)) == len(names))
    labels = sorted(i % len(names) for i in range(8))
    contents = [png(0, i) for i in range(8)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    with folder() as root:
        for name in ("shuffled", "parquet", "arrow"):
            (root / name).mkdir()
        splits = {}
        for split in ("train", "test"):
            lines = []
            for i, label in enumerate(labels):
                for place in ("pictures", "places"):
                    write(root / place / split / names[label] / f"{i}.png", contents[i])
                lines.append(f"{split}/{names[label]}/{i}.png {label}")
            (root / "places" / f"Places_LT_{split}.txt").write_text("\n".join(lines), encoding="utf-8")
            images = [{"bytes": content, "path": None} for content in contents]
            table = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
            table.to_parquet(root / "parquet" / f"{split}-00000-of-00001.parquet")
            table.select(order).to_parquet(root / "shuffled" / f"{split}.parquet")
            arrow = table.with_format("arrow")[:]
            with ipc.new_stream(str(root / "arrow" / f"{split}.arrow"), arrow.schema) as stream:
                stream.write_table(arrow)
            splits[split] = table
        datasets.DatasetDict(splits).save_to_disk(root / "saved")
        forms = [load(str(root / name)) for name in ("pictures", "parquet", "arrow", "saved")]
        listed = any(not name.isprintable() or name != name.strip() for name in names)
        forms += [] if listed else [load("places_lt", root / "places")]
        for dataset in forms:
            assert dataset.train.labels.tolist() == labels
            assert dataset.train.fingerprint == forms[0].train.fingerprint
            assert np.array_equal(dataset.train.images(np.arange(8)), forms[0].train.images(np.arange(8)))
        assert counts(load(str(root / "shuffled"))) == counts(forms[0])
