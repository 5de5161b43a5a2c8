"""Pools: views do not depend on batches, and are made once for all networks that see them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from harness.passes import pools
from harness.passes.pools import MemoryPool, Pools
from methods.core.recipes import QUICK
from methods.jobs.job import TrainingJob
from methods.papers import get
from shifts.images.catalog import load
from shifts.sets.training import training_set


def pool() -> MemoryPool:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (300, 1, 12, 12), generator=generator, dtype=torch.uint8)
    return MemoryPool(images, torch.full((3,), 0.4), torch.full((3,), 0.3))


def test_a_view_is_made_once_and_is_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = pool()
    first = torch.cat(list(made.view(3)))
    monkeypatch.setattr(pools, "ViewDraw", None)  # a second draw would fail
    assert torch.equal(torch.cat(list(made.view(3))), first)
    monkeypatch.undo()
    assert torch.equal(torch.cat(list(pool().view(3))), first)
    assert not torch.equal(torch.cat(list(made.view(4))), first)


def test_views_beyond_the_memory_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "VIEW_BYTES", 300 * 3 * 12 * 12 * 4)
    made = pool()
    views = [torch.cat(list(made.view(seed))) for seed in (0, 1)]
    assert list(made.kept) == [0]
    assert all(torch.equal(torch.cat(list(made.view(seed))), view) for seed, view in enumerate(views))


def test_an_unfinished_view_is_not_kept() -> None:
    made = pool()
    next(iter(made.view(0)))
    assert not made.kept
    assert len(torch.cat(list(made.view(0)))) == 300


@pytest.mark.parametrize(("side", "batch"), [(12, 128), (32, 128), (48, 56), (224, 32)])
def test_batches_of_larger_images_are_smaller(side: int, batch: int) -> None:
    images = torch.zeros(130, 1, side, side, dtype=torch.uint8)
    made = MemoryPool(images, torch.zeros(3), torch.ones(3))
    sizes = [len(part) for part in made.clean()]
    assert sizes[0] == batch
    assert sum(sizes) == 130


def test_networks_share_a_pool_and_orders_do_not() -> None:
    dataset = load("embedded")
    training = training_set(dataset)
    jobs = [TrainingJob(dataset, training, get(name), QUICK, 0) for name in ("softmax", "sade")]
    shared = Pools(torch.device("cpu"))
    chosen = training.indices[:5]
    assert shared.of(jobs[0], dataset.train, chosen) is shared.of(jobs[1], dataset.train, chosen)
    assert shared.of(jobs[0], dataset.train, chosen[::-1]) is not shared.of(jobs[0], dataset.train, chosen)


def test_whole_pictures_are_tested_where_the_recipe_trains_on_them() -> None:
    dataset = load("embedded_mosaics")
    training, chosen = training_set(dataset), np.arange(5)
    form = {"backbone": "resnet10", "size": 40}
    found = {}
    for crop in ("whole", "resized"):
        recipe = replace(QUICK, crop=crop, **form)  # type: ignore[arg-type]
        job = TrainingJob(dataset, training, get("ltml"), recipe, 0)
        found[crop] = torch.cat(list(Pools(torch.device("cpu")).of(job, dataset.test, chosen).clean()))
    mean, std = (torch.tensor(values).float()[:, None, None] for values in dataset.normalisation)
    for number, picture in enumerate(dataset.test.images(chosen)[..., 0]):
        resized = np.asarray(Image.fromarray(picture).resize((40, 40), Image.Resampling.BILINEAR))
        expected = (torch.from_numpy(resized.copy()).float() / 255 - mean) / std
        torch.testing.assert_close(found["whole"][number], expected)
    assert not torch.equal(found["whole"], found["resized"])
