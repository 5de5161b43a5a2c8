"""Identities that results of before have: settings of named recipes, and keys of checkpoints."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from methods import papers
from methods.core import recipes
from methods.jobs.job import TrainingJob
from shifts.common.files import digest
from shifts.images import catalog, entries
from shifts.images.entries import CIFAR_MEAN, CIFAR_STD
from shifts.sets.training import training_set

QUICK = "d18883dd01bf4483c512f03d681100ae9117d3cf8933d01fb3d029af25d6dd39"
PUBLISHED = "0076b6d9378061b905fcc24f41d66f1d0ec369a3e3890986fd0be67607c206b5"
BF16 = "bb4ba5441eeab80fa4300c2bb568ed6f801438df6a6b3d78fcab5a02cb38752a"
TENTH = "62460ff217f17a15ca6d9c7d2e61ad969a698c122e3bedeb1161e22cafa3a90c"
SETTINGS = {
    "embedded": (QUICK, PUBLISHED, BF16, TENTH),
    "cifar100": (QUICK, PUBLISHED, BF16, TENTH),
    "imagenet_lt": (
        QUICK,
        "f94bbc96e87f64e4a3568d95810ac47b0a34ad2eedb57a1f8f7806db30ea301d",
        "46069aa5c73cd0ab82a109f01661681cbd99c2eb49715f95902b635eecd67c0a",
        "c6ed080511c72f7a73b7cfe20882557517ddc4d17e5461783974c96f66f29993",
    ),
    "voc_mlt": (  # without pre-trained weights at hand
        QUICK,
        "5c51fd3c2ff82d6ae82a6b1334ca3c577e495981a8b4658e6194fef9835e61dc",
        "ed76d31265ae70e30327f6260ae72d7dd4264328d8c263fc428e76857ce085ed",
        "f07f339216453bd2e0d2aa6cb8a6e4da69fc639220cdd2e4e705ce74e117ea9e",
    ),
}
KEYS = {
    ("embedded", "softmax", "quick"): "1a58a7518bc1a75a29a6b3341a6125e172c5e740fd0d6b68077fca3c854f07b6",
    ("embedded", "sade", "quick"): "55fbe489771c850529c16e311693416df5abd5c4bc1d88d6cccddff99fd7c9d6",
    ("embedded", "ride", "quick"): "6f121c23935c003290057e72a79a1bf21df047f8bd3828673a6035ca92c8a29a",
    ("embedded", "sade", "published-x0.1"): "d5de94f20bf9638f6df5cc9e5ada41f9b7eb4796e4d0b174baf66817f12aa22d",
    ("embedded_mosaics", "ltml", "quick"): "643bc2da1272074137c60d71df00f599f535b0ad5076cd4f0cd5fdbafc413bb3",
}
ZOO = Path(__file__).parents[3] / "results" / "zoo"


@pytest.mark.parametrize("dataset", SETTINGS)
def test_settings_of_named_recipes_are_those_of_before(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "cached", lambda backbone: [])
    names = ("quick", "published", "published-bf16", "published-x0.1")
    assert tuple(digest(recipes.get(name, dataset).settings()) for name in names) == SETTINGS[dataset]


@pytest.mark.parametrize(("dataset", "method", "setting"), KEYS)
def test_keys_of_the_embedded_data_are_those_of_before(dataset: str, method: str, setting: str) -> None:
    data = catalog.load(dataset)
    job = TrainingJob(data, training_set(data), papers.get(method), recipes.get(setting, dataset), seed=0)
    assert job.key == KEYS[dataset, method, setting]


def test_keys_of_cifar_are_those_of_the_zoo() -> None:
    packed = [json.loads(path.read_text()) for path in sorted(ZOO.glob("cifar100-*.json"))]
    assert packed
    (entry,) = [entry for entry in entries.ENTRIES if entry.name == "cifar100"]
    data = SimpleNamespace(name="cifar100", entry=entry, mean=CIFAR_MEAN, std=CIFAR_STD)
    for about in packed:
        counts = np.array(about["train_counts"])
        drawn = SimpleNamespace(fingerprint=about["train_fingerprint"], counts=counts, n=int(counts.sum()))
        setting = recipes.get(about["recipe"], "cifar100")
        job = TrainingJob(data, drawn, papers.get(about["method"]), setting, about["seed"])  # type: ignore[arg-type]
        assert job.key == about["key"]
