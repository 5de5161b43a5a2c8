"""Labelled source images that were trained on: counted where rows are shown, avoided where images were kept back."""

from pathlib import Path

import numpy as np
import pytest

from harness.choice.text import render
from harness.pages import markdown
from harness.pages.parts import gather
from harness.records import rows
from shifts.images.catalog import Dataset, load
from shifts.labels.draw import indices_sha256, left_out
from shifts.sets.source import source_images
from shifts.sets.training import training_set
from tests.harness.choice.test_answer import SOURCE, setting
from tests.harness.small import call

EMBEDDED = "fd99f2c613a183d1204e84758c212e0145e2a3f8e2f0148e82e341f8dafa2837"
LABELS = np.repeat(np.arange(3), [60, 12, 3])


@pytest.fixture(scope="module")
def own(data: Path) -> Dataset:
    return load(str(data))


def test_what_was_kept_back_is_not_filled_up() -> None:
    kept = [0, 1, 60, 61, 72]
    drawn = np.setdiff1d(np.arange(75), kept)
    indices, seen = left_out(LABELS, drawn, 3, held_out=True)
    assert (sorted(indices.tolist()), seen) == (kept, 0)
    few, seen = left_out(LABELS, drawn, 3, per_class=1, held_out=True)
    assert (np.bincount(LABELS[few]).tolist(), seen) == ([1, 1, 1], 0)
    assert set(few.tolist()) < set(kept)
    # without a word of one class there is nothing to calibrate it on
    whole, seen = left_out(LABELS, np.append(drawn, 72), 3, held_out=True)
    assert (len(whole), seen) == (75, 71)
    assert left_out(LABELS, drawn, 3)[1] == 70, "as ever for other draws"


def test_only_images_that_were_kept_back_are_source(own: Dataset) -> None:
    training = training_set(own, profile="natural:holdout=4")
    source = source_images(own, training)
    assert (len(source.indices), source.seen) == (16, 0)
    assert not np.isin(source.indices, training.indices).any()
    for other in ({"imbalance": 10.0}, {"imbalance": "natural"}):
        training = training_set(own, **other)
        indices, seen = left_out(own.train.labels, training.indices, own.classes)
        source = source_images(own, training)
        assert (source.indices_sha256, source.seen) == (indices_sha256(indices), seen)
        assert seen > 0


def test_the_source_of_the_embedded_data_is_what_it_was() -> None:
    """Its hash is part of row ids of the reference."""
    dataset = load("embedded")
    source = source_images(dataset, training_set(dataset))
    assert (len(source.indices), source.seen) == (2000, 200)
    assert source.indices_sha256 == EMBEDDED


def test_the_command_counts_what_was_trained_on(data: Path, recipe: Path, tmp_path: Path) -> None:
    asked = ["--dataset", data, "--recipe", recipe, "--device", "cpu", "--methods", "softmax", "--shift", "uniform"]
    asked += ["--redraws", "0", "--adapters", "mean", "calibrated", "--results", tmp_path]
    natural = call(*asked, "--train-imbalance", "natural")
    assert natural.status == 0, natural.err
    assert "240 labels (240 trained on)" in natural.out
    assert "240 of 240 labelled source images were trained on" in natural.out
    held = call(*asked, "--profile", "natural:holdout=4")
    assert held.status == 0, held.err
    assert " 16 labels\n" in held.out
    assert "trained on" not in held.out
    counted = {(row.source_n, row.source_seen) for row in rows.load_all(tmp_path) if row.adapter == "calibrated"}
    assert counted == {(240, 240), (16, 0)}


def test_answers_and_report_say_it(tmp_path: Path) -> None:
    note = "82 of 5,000 labelled source images were trained on"
    seen = setting(0.6) + setting(0.7, source_n=5000, source_seen=82, **SOURCE)
    unseen = setting(0.6) + setting(0.7, source_n=5000, source_seen=0, **SOURCE)
    for found, count in ((seen, 1), (unseen, 0)):
        assert render(found, 200).count(note) == count
        text = markdown.render(gather(tmp_path, found))
        with_labels = [part for part in text.split("#### ") if "labelled source images" in part.split("\n")[0]]
        assert len(with_labels) == 1
        assert text.count(note) == with_labels[0].count(note) == count
