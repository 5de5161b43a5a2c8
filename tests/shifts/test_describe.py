"""The command: JSON, table, export and redraw, exit statuses."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shifts.common.command import command
from shifts.common.errors import BadInput, WorkFailed
from shifts.describe import main
from shifts.images.catalog import load
from shifts.images.drawn import SIDECAR
from shifts.sets.export import export
from shifts.sets.source import source_images
from shifts.sets.training import training_set


def test_json_of_the_real_command() -> None:
    command_line = [sys.executable, "-m", "shifts.describe", "--shift", "all", "--json"]
    done = subprocess.run(command_line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["n"] for row in rows] == [1394, 1611, 2040, 2538, 3618, 5000, 3618, 2538, 2040, 1611, 1394]
    assert set(rows[0]) == {"shift", "n", "counts", "tv_train_test", "indices_sha256", "data"}
    assert rows[0]["data"]["notes"] == []
    assert rows[10]["shift"] == "backward_lt-50"
    assert rows[10]["counts"][0] == 10
    assert rows[10]["indices_sha256"].startswith("1b5b00c656e2")
    assert round(rows[10]["tv_train_test"], 3) == 0.829
    assert "%" not in done.stderr  # no progress bar where nobody watches


def test_table_fits_100_columns(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    weights = tmp_path / ("a-very-long-name" * 5 + ".json")
    weights.write_text(json.dumps(list(range(10))))
    assert main(["--shift", "all", "dirichlet-0.5-s7", f"custom-{weights}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("generated" in line for line in lines) == 13


def test_export_and_redraw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "lt50"
    options = ["--train-imbalance", "50", "--train-subset-seed", "3"]
    assert main([*options, "--export", str(folder)]) == 0
    before = capsys.readouterr().out.partition("training set:")[2]
    full, small = load("embedded"), load("embedded", folder)
    first = training_set(full, 50, seed=3)
    again = training_set(small, 50, seed=3)
    assert training_set(small, "natural" if small.drawn is None else None, seed=3).n == first.n
    assert again.indices_sha256 == first.indices_sha256
    assert again.indices.tolist() == list(range(first.n))
    assert full.train.encoded(first.indices.tolist()) == small.train.encoded(again.indices.tolist())
    assert (full.train.labels[first.indices] == small.train.labels).all()
    assert full.test.fingerprint == small.test.fingerprint
    assert small.class_names == full.class_names
    capsys.readouterr()
    assert main([*options, "--data-dir", str(folder)]) == 0
    assert capsys.readouterr().out.partition("training set:")[2] == before != ""
    for other in (
        ["--train-imbalance", "100"],
        [],
        ["--train-imbalance", "natural"],
        [*options, "--profile", "step"],
    ):
        assert main([*other, "--data-dir", str(folder)]) == 2
        assert "needs the full dataset" in capsys.readouterr().err
    # The same folder without a catalog name keeps its class order and statistics.
    anonymous = load(str(folder))
    assert anonymous.rank_by_index
    np.testing.assert_array_equal(anonymous.normalisation[0], full.normalisation[0])


def test_export_with_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever works on the export calibrates on the same images as whoever has the full pool."""
    full = load("embedded")
    drawn = training_set(full)
    wanted = source_images(full, drawn)
    assert 0 < wanted.seen < len(wanted.indices)
    for name, more, same in (("with", ["--with-source"], True), ("without", [], False)):
        assert main(["--export", str(tmp_path / name), *more]) == 0
        small = load("embedded", tmp_path / name)
        found = source_images(small, training_set(small))
        assert (found.indices_sha256 == wanted.indices_sha256) == same
        assert (found.seen == wanted.seen) == same
        content = found.pool.digest(found.indices.tolist())
        assert (content == wanted.pool.digest(wanted.indices.tolist())) == same
        assert (found.seen == len(found.indices)) == (not same)
        assert found.pool_fingerprint is None
    # an export of the export is the same again
    again = load("embedded", tmp_path / "with")
    assert main(["--data-dir", str(tmp_path / "with"), "--export", str(tmp_path / "twice"), "--with-source"]) == 0
    twice = load("embedded", tmp_path / "twice")
    assert (twice.drawn, twice.train.fingerprint) == (again.drawn, again.train.fingerprint)
    assert main(["--with-source"]) == 2
    assert "--with-source goes with --export" in capsys.readouterr().err


def test_an_export_over_another_leaves_nothing_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    assert main(["--export", str(folder), "--with-source"]) == 0
    assert main(["--train-imbalance", "natural", "--export", str(folder)]) == 0
    small = load("embedded", folder)
    assert small.validation is None
    natural = source_images(small, training_set(small))
    assert natural.seen == len(natural.indices), "every image was trained on"
    # its source images lost, or cut off before its last file: refused
    assert main(["--export", str(folder), "--with-source"]) == 0
    (folder / "validation-00000-of-00001.parquet").rename(tmp_path / "aside")
    with pytest.raises(BadInput, match="was exported with source images"):
        load("embedded", folder)
    (tmp_path / "aside").rename(folder / "validation-00000-of-00001.parquet")
    (folder / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(BadInput):
        load("embedded", folder)
    capsys.readouterr()
    assert main(["--dataset", "embedded_mosaics", "--export", str(tmp_path / "sets"), "--with-source"]) == 2
    assert "multi-label" in capsys.readouterr().err


def test_source_needs_a_split_of_its_own(
    table_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = table_folder()
    (folder / "test-00000-of-00001.parquet").rename(folder / "validation-00000-of-00001.parquet")
    given = [
        "--shift",
        "uniform",
        "--dataset",
        str(folder),
        "--train-imbalance",
        "4",
        "--export",
        str(tmp_path / "out"),
        "--with-source",
    ]
    assert main(given) == 2
    assert "source images go into the validation split, and data tests on that" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_export_refuses(tmp_path: Path, image_folder: Path, list_root: Path) -> None:
    dataset = load(str(image_folder))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(BadInput, match="is not empty"):
        export(dataset, training_set(dataset), tmp_path / "mine")
    listed = load("places_lt", list_root)
    with pytest.raises(BadInput, match="is a list of files"):
        export(listed, training_set(listed), tmp_path / "lists")


def test_an_image_folder_is_exported_with_its_bytes(tmp_path: Path, image_folder: Path) -> None:
    dataset = load(str(image_folder))
    training = training_set(dataset, 3)
    export(dataset, training, tmp_path / "out")
    again = load(str(tmp_path / "out"))
    assert again.train.encoded([0]) == dataset.train.encoded([int(training.indices[0])])
    assert training_set(again).indices_sha256 == training.indices_sha256
    sidecar = tmp_path / "out" / SIDECAR
    content = json.loads(sidecar.read_text())
    for change, message in [
        ({"counts": [1, 1, 1]}, "does not fit the training images"),
        ({"format": 2}, "has format 2"),
        ({"more": 1}, "cannot be read"),
    ]:
        sidecar.write_text(json.dumps({**content, **change}))
        with pytest.raises(BadInput, match=message):
            load(str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "cifr10"], "unknown dataset 'cifr10'; allowed: cifar10,"),
        (["--shift", "backwrd_lt"], "unknown shift 'backwrd_lt'; allowed: backward_lt,"),
        (["--imbalance", "0.5"], "argument --imbalance: '0.5' is not a finite number >= 1"),
        (["--imbalance", "many"], "argument --imbalance: 'many' is not a finite number >= 1"),
        (
            ["--imbalance", "600"],
            "backward_lt ratio 600 leaves class 0 (T - shirt / top) without images; the highest",
        ),
        (["--train-imbalance", "501"], "train imbalance 501 leaves class 9 (Ankle boot) without images"),
        (["--train-imbalance", "nan"], "nor natural"),
        (["--seed", "-1"], "argument --seed"),
        (["--label-column", "kind"], "embedded has no column 'kind' (--label-column); it has: image, label"),
        (["--shift-list", "nowhere.txt"], "cannot read the list file nowhere.txt"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (BadInput("a\nb"), 2),
        (WorkFailed("a b"), 1),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left"), 1),
    ],
)
def test_exit_statuses(failure: BaseException, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def fails(arguments: object = None) -> None:
        raise failure

    assert fails([]) == status
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert fails(["--debug"]) == status
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_is_not_hidden() -> None:
    @command
    def fails(arguments: object = None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails([])


def test_a_reader_that_goes_away() -> None:
    line = f"{sys.executable} -m shifts.describe --shift all --json | true"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.stderr == ""
