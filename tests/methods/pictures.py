"""Folders of small pictures of one colour a class, and a recipe that trains on them in a moment."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

RECIPE = """\
backbone = "resnet8"
epochs = 2
batch_size = 16
lr = 0.05
warmup = 0
milestones = [2, 2]
padding = 1
strong = false
"""
COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40))
ONLY = ["--shift", "natural", "--redraws", "0", "--adapters", "mean", "--device", "cpu"]
"""Options of the main command that ask for one row."""

Size = Callable[[int], tuple[int, int]]
"""size(number of the picture) -> (width, height)"""


def picture(label: int, size: tuple[int, int], rng: np.random.Generator, black: Sequence[int] = ()) -> Image.Image:
    """Noise around the colour of a class; the channels `black` are 0."""
    pixels = rng.integers(0, 50, (size[1], size[0], 3)) + np.array(COLOURS[label])
    pixels[..., list(black)] = 0
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_pictures(
    root: Path,
    train: Sequence[int],
    test: Sequence[int] | None = None,
    size: Size = lambda number: (8, 8),
    black: Sequence[int] = (),
) -> Path:
    """Write train/CLASS/N.png and test/CLASS/N.png; `train` and `test` (default: 6 each) are pictures a class."""
    rng = np.random.default_rng(0)
    for split, counts in (("train", train), ("test", test or [6] * len(train))):
        for label, count in enumerate(counts):
            (root / split / "abcd"[label]).mkdir(parents=True)
            for number in range(count):
                picture(label, size(number), rng, black).save(root / split / "abcd"[label] / f"{number}.png")
    return root


def write_recipe(folder: Path, extra: str = "") -> Path:
    """Write the recipe, and more lines of it."""
    path = folder / "tiny.toml"
    path.write_text(RECIPE + extra)
    return path
