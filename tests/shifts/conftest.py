"""Small datasets made on the spot, and a cache of `datasets` that is thrown away."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TRAIN_PER_CLASS, TEST_PER_CLASS, CLASSES = 20, 10, 3


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets-cache")
    yield
    datasets.config.HF_DATASETS_CACHE = before


def encode(mode: str = "L", size: tuple[int, int] = (4, 6), value: int = 7) -> bytes:
    """A PNG of one colour; size is (width, height)."""
    file = io.BytesIO()
    Image.new("L", size, value).convert(mode).save(file, "PNG")
    return file.getvalue()


def columns(per_class: int, start: int = 0) -> dict[str, list[object]]:
    """Labels in rotation, every image another grey value."""
    labels = [i % CLASSES for i in range(per_class * CLASSES)]
    images = [{"bytes": encode(value=(start + i) % 256), "path": None} for i in range(len(labels))]
    return {"image": list(images), "label": list(labels)}


@pytest.fixture
def table_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write train and test columns as parquet in Hub layout; returns the folder."""

    def write(
        train: dict[str, list[object]] | None = None,
        test: dict[str, list[object]] | None = None,
        name: str = "data",
        names: list[str] | None = None,
        validation: dict[str, list[object]] | None = None,
    ) -> Path:
        import datasets

        features = None
        if names is not None:
            label = datasets.ClassLabel(names=names)
            features = datasets.Features({"image": datasets.Image(), "label": label})
        folder = tmp_path / name
        folder.mkdir()
        given = {"train": columns(TRAIN_PER_CLASS) if train is None else train}
        given["test"] = columns(TEST_PER_CLASS, 100) if test is None else test
        given["validation"] = validation or {}
        for split, content in given.items():
            if content:
                table = datasets.Dataset.from_dict(content, features=features)
                table.to_parquet(folder / f"{split}-00000-of-00001.parquet")
        return folder

    return write


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """train/CLASS/N.png and test/CLASS/N.png."""
    for split, count in (("train", 6), ("test", 3)):
        for c, name in enumerate(("ant", "bee", "cat")):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for i in range(count):
                (tmp_path / "pictures" / split / name / f"{i}.png").write_bytes(encode(value=c * 50 + i))
    return tmp_path / "pictures"


@pytest.fixture
def list_root(tmp_path: Path) -> Path:
    """Places-LT's list files over small images, the training set long-tailed by itself."""
    root = tmp_path / "places"
    rng = np.random.default_rng(0)
    for split, counts in (("train", (4, 9, 2)), ("test", (3, 3, 3))):
        lines = []
        for c, count in enumerate(counts):
            (root / split / str(c)).mkdir(parents=True)
            for i in range(count):
                (root / split / str(c) / f"{i}.png").write_bytes(encode(value=int(rng.integers(256))))
                lines.append(f"{split}/{c}/{i}.png {c}")
        (root / f"Places_LT_{split}.txt").write_text("\n".join(lines) + "\n")
    return root
