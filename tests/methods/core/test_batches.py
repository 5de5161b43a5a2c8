"""No batch of one image: whatever the size of the training set, and all other sets are cut as before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.records import rows
from methods import papers
from methods.core.batches import batch_sizes, regrouped
from methods.core.method import Method
from methods.core.recipes import QUICK
from methods.jobs.job import TrainingJob
from methods.pixels.data import TrainingImages
from methods.processes.parallel import pieces
from methods.training.loop import Trained, train
from shifts.images.catalog import load
from shifts.sets.training import training_set
from tests.harness.small import call, one_line, png, write_dataset
from tests.methods import tiny
from tests.methods.pictures import ONLY, write_pictures, write_recipe

ONE_EPOCH = replace(tiny.RECIPE, epochs=1, warmup=0, milestones=(1, 1), lr=0.01, strong=False)


@pytest.mark.parametrize("batch_size", [2, 3, 4, 7, 16, 64])
def test_only_an_image_left_alone_is_moved(batch_size: int) -> None:
    for images in range(2, 200):
        sizes, before = batch_sizes(images, batch_size), [len(part) for part in torch.arange(images).split(batch_size)]
        assert sum(sizes) == images
        if images % batch_size == 1:
            assert sizes == [*before[:-2], batch_size + 1]
        else:
            assert sizes == before
            assert min(sizes) >= 2


@pytest.mark.parametrize("accumulate", [1, 2, 3, 8])
def test_what_is_cut_otherwise_than_before_is_known(accumulate: int) -> None:
    for batch_size in (2, 3, 8, 16):
        for images in range(2, 60):
            before = [min(accumulate, len(part)) for part in torch.arange(images).split(batch_size)]
            now = [len(pieces(size, accumulate)) for size in batch_sizes(images, batch_size)]
            assert regrouped(images, batch_size, accumulate) == (before != now), (images, batch_size)


def data_of(method: Method, images: int) -> TrainingImages:
    """Images of 4 x 4 pixels, of which the last maps of a network have one."""
    if method.task == "multi_label":
        return tiny.label_sets(images=images, classes=min(images, 4), side=4)
    return tiny.images((images - images // 2, images // 2), side=4)


def fit(name: str, images: int, folder: Path, accumulate: int = 1) -> Trained:
    method = papers.get(name)
    resume = folder / "resume.safetensors"
    return train(method, ONE_EPOCH, data_of(method, images), 1, resume=resume, key="", accumulate=accumulate)


@pytest.mark.parametrize("name", papers.METHODS)
@pytest.mark.parametrize("images", [2, 3, 17, 33])
def test_maps_of_one_pixel_train_whatever_is_left(name: str, images: int, tmp_path: Path) -> None:
    assert all(np.isfinite(fit(name, images, tmp_path).losses))


@pytest.mark.parametrize("name", ["softmax", "ride", "shike", "ltml"])
def test_pieces_have_two_images(name: str, tmp_path: Path) -> None:
    assert all(np.isfinite(fit(name, 19, tmp_path, accumulate=16).losses))


def test_a_key_tells_weights_of_other_batches() -> None:
    dataset = load("embedded")
    drawn = training_set(dataset)

    def changed(images: int, method: str = "softmax", accumulate: int = 1, batch_size: int = 64) -> bool:
        setting = replace(QUICK, batch_size=batch_size)
        job = TrainingJob(dataset, drawn, papers.get(method), setting, seed=0, accumulate=accumulate)
        return job.key != replace(job, training=replace(drawn, indices=np.arange(images))).key

    assert [changed(images) for images in (64, 1217, 1218, 1280)] == [False, True, False, False]
    # the gate of ride has batches of 512 images
    assert not changed(1537, batch_size=100)
    assert changed(1537, "ride", batch_size=100)
    assert [changed(images, accumulate=2) for images in (1217, 1219, 1220)] == [True, True, False]


@pytest.mark.parametrize("counts", [[33, 32], [1, 1], [1, 1, 1]], ids=str)
def test_the_command_trains_on_sets_that_leave_one_image(counts: list[int], tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", counts, size=lambda number: (4, 4))
    asked = ["--dataset", folder, "--recipe", write_recipe(tmp_path), "--methods", "softmax", "ride", *ONLY]
    made = call(*asked, "--views", "0", "--results", tmp_path / "results")
    assert made.status == 0, made.err
    assert len(rows.load_all(tmp_path / "results")) == 2


def test_a_single_image_is_refused_before_work(tmp_path: Path) -> None:
    train = {"image": [png(np.zeros((4, 4)))], "label": None, "labels": [[0, 1]]}
    test = {"image": [png(np.zeros((4, 4)))] * 4, "label": None, "labels": [[0], [1], [0, 1], [0]]}
    folder = write_dataset(tmp_path / "one", train=train, test=test)
    made = call("--dataset", folder, "--methods", "bce", "--results", tmp_path / "results")
    assert made.status == 2
    assert "has one training image; at least two are needed" in one_line(made.err)
    assert not (tmp_path / "results").exists()
