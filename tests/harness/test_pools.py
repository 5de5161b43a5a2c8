"""Pools: views do not depend on batches, and are made once for all networks that see them."""

import pytest
import torch

from harness import pools
from harness.pools import MemoryPool, Pools
from methods import get
from methods.job import TrainingJob
from methods.recipe import QUICK
from shifts.catalog import load
from shifts.sets import training_set


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


def test_networks_share_a_pool_and_orders_do_not() -> None:
    dataset = load("embedded")
    training = training_set(dataset)
    jobs = [TrainingJob(dataset, training, get(name), QUICK, 0) for name in ("softmax", "sade")]
    shared = Pools(torch.device("cpu"))
    chosen = training.indices[:5]
    assert shared.of(jobs[0], dataset.train, chosen) is shared.of(jobs[1], dataset.train, chosen)
    assert shared.of(jobs[0], dataset.train, chosen[::-1]) is not shared.of(jobs[0], dataset.train, chosen)
