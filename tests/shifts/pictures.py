"""Image folders and tables as people have them, small and made on the spot."""

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shifts.images.catalog import Dataset

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200), (200, 40, 200)]


def picture(kind: int, number: int = 0, size: tuple[int, int] = (4, 4)) -> Image.Image:
    """A colour image of a class, another for each number."""
    generator = np.random.default_rng([kind, number])
    pixels = generator.integers(0, 50, (*size, 3)) + np.array(COLOURS[kind % len(COLOURS)])
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def png(kind: int, number: int = 0, size: tuple[int, int] = (4, 4)) -> bytes:
    """`picture` as a PNG file's bytes."""
    stream = io.BytesIO()
    picture(kind, number, size).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, content: bytes) -> None:
    """Write a file, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_folder(
    root: Path,
    classes: Iterable[str],
    sizes: Mapping[str, int] | None = None,
    name: Callable[[int], str] = "{}.png".format,
) -> Path:
    """Write `SPLIT/CLASS/N.png`; sizes: images a class by split."""
    numbers = iter(range(10**6))
    for split, count in (sizes or {"train": 4, "test": 2}).items():
        for kind, class_name in enumerate(classes):
            for i in range(count):
                write(root / split / class_name / name(i), png(kind, next(numbers)))
    return root


def write_table(root: Path, split: str, labels: list[Any], feature: Any = None) -> None:
    """Write a split as Parquet in the Hub's layout, with a label column of this feature."""
    import datasets

    images = [{"bytes": png(0, i), "path": None} for i in range(len(labels))]
    features = datasets.Features({"image": datasets.Image(), "label": feature or datasets.Value("int64")})
    root.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
    table.to_parquet(root / f"{split}-00000-of-00001.parquet")


def counts(dataset: Dataset, role: str = "train") -> dict[str, int]:
    """Images by class name in a split."""
    images = getattr(dataset, role)
    return dict(zip(dataset.class_names, images.class_counts().tolist(), strict=True))


def notes(dataset: Dataset) -> str:
    """All notes in one text."""
    return "\n".join(note.text for note in dataset.notes)
