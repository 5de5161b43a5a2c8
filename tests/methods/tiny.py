"""A training set, a recipe and a run that take milliseconds."""

from collections.abc import Callable
from pathlib import Path

import torch

from methods.core.method import Method
from methods.core.recipe import Recipe
from methods.pixels.data import TrainingImages
from methods.training.loop import Trained, train

RECIPE = Recipe("tiny", backbone="resnet8", epochs=2, batch_size=16, warmup=1, milestones=(1, 2))
COUNTS = (24, 12, 6, 3)


def images(counts: tuple[int, ...] = COUNTS, side: int = 8) -> TrainingImages:
    """Random pixels with shuffled labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    pixels = torch.randint(0, 256, (len(labels), 3, side, side), generator=generator, dtype=torch.uint8)
    mean, std = torch.full((3,), 0.5), torch.full((3,), 0.25)
    return TrainingImages(pixels, labels, torch.tensor(counts).float(), mean, std)


def run(
    method: Method,
    resume: Path,
    recipe: Recipe = RECIPE,
    progress: Callable[[str, int, int, float], None] = lambda stage, epoch, epochs, loss: None,
) -> Trained:
    """Train on `images()` with seed 1."""
    return train(method, recipe, images(), 1, resume=resume, key="tiny", progress=progress)


def crash_after(stage: str, epoch: int) -> Callable[[str, int, int, float], None]:
    """A progress callback that raises KeyboardInterrupt when `epoch` epochs of `stage` are done and kept."""

    def progress(now: str, done: int, epochs: int, loss: float) -> None:
        if (now, done) == (stage, epoch):
            raise KeyboardInterrupt

    return progress


def label_sets(images: int = 45, classes: int = 4, side: int = 8) -> TrainingImages:
    """Random pixels with label sets: label k is on every (k + 2)-th image, and one label at least on each."""
    generator = torch.Generator().manual_seed(0)
    every = torch.arange(2, 2 + classes)
    labels = (torch.arange(images)[:, None] % every == 0).to(torch.uint8)
    labels[labels.sum(1) == 0, 0] = 1
    pixels = torch.randint(0, 256, (images, 3, side, side), generator=generator, dtype=torch.uint8)
    mean, std = torch.full((3,), 0.5), torch.full((3,), 0.25)
    return TrainingImages(pixels, labels, labels.sum(0).float(), mean, std)
