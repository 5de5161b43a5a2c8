"""What must survive: kills at any moment, races, a full disk, tampered files, training that explodes."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from harness.records import rows
from tests.harness.small import (
    RECIPE,
    SMALL_ROWS,
    Driver,
    call,
    child,
    leaderboard_bytes,
    one_line,
    stamps,
    started,
    visible,
)

RENAMES = [
    *("partial", "partial", "checkpoint", "description", "evidence", *["row"] * 3),
    *("partial", "partial", "checkpoint", "description", "evidence", *["row"] * 5),
    "leaderboard",
]
"""What the small run writes, in order: softmax with its three rows, sade with its five."""

LONG = 40
"""Epochs of a training that lasts about a second."""


def kind(name: str) -> str:
    """What a file in a results folder is."""
    if name.startswith("rows/"):
        return "row"
    if name.startswith("evidence/"):
        return "evidence"
    if name == "leaderboard.json":
        return "leaderboard"
    suffixes = {".partial.safetensors": "partial", ".safetensors": "checkpoint", ".json": "description"}
    return next(what for suffix, what in suffixes.items() if name.endswith(suffix))


def assert_complete(results: Path) -> None:
    """Every file with a final name can be read in full."""
    for path in visible(results):
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            with safe_open(path, framework="np") as stream:
                assert stream.keys()


def test_what_an_undisturbed_run_writes(driver: Driver, asked: list[str], small_results: Path, tmp_path: Path) -> None:
    outcome = driver.one(asked, tmp_path / "results")
    assert outcome["status"] == 0, outcome["err"]
    assert [kind(name) for name in outcome["renames"]] == RENAMES
    assert leaderboard_bytes(tmp_path / "results") == leaderboard_bytes(small_results)
    assert not list((tmp_path / "results").rglob("*.partial.safetensors"))


def killed_then_run_again(
    driver: Driver, asked: list[str], undisturbed: bytes, tmp_path: Path, places: list[tuple[int, str]]
) -> None:
    """Kill a run at each rename (number, `before` or `after`) and let it go on: all is there, nothing done twice."""
    folders = {(place, when): tmp_path / f"{place} {when}" for place, when in places}
    killed = driver.run([child(asked, results, kill=k, when=when) for (k, when), results in folders.items()])
    for ((place, when), results), outcome in zip(folders.items(), killed, strict=True):
        assert outcome["status"] == -signal.SIGKILL, (place, outcome)
        assert len(outcome["renames"]) == place - (when == "before")
        assert_complete(results)
    resumed = driver.run([child(asked, results) for results in folders.values()])
    for (place, results), first, second in zip(folders.items(), killed, resumed, strict=True):
        assert second["status"] == 0, (place, second["err"])
        assert leaderboard_bytes(results) == undisturbed, place
        assert not list(results.rglob("*.partial.safetensors")), place
        done = Counter(map(kind, first["renames"] + second["renames"]))
        # No epoch is trained twice, no evidence gathered twice, no row computed twice.
        assert (done["partial"], done["evidence"], done["row"]) == (4, 2, SMALL_ROWS), place


LAST = {name: number for number, name in enumerate(RENAMES, start=1)}
"""The last rename of each kind."""


def test_killed_between_files_that_belong_together_then_run_again(
    driver: Driver, asked: list[str], small_results: Path, tmp_path: Path
) -> None:
    """Between weights and their description, and among rows."""
    places = [(LAST["description"], "before"), (LAST["row"], "before")]
    killed_then_run_again(driver, asked, leaderboard_bytes(small_results), tmp_path, places)


@pytest.mark.exhaustive
def test_killed_at_any_rename_then_run_again(
    driver: Driver, asked: list[str], small_results: Path, tmp_path: Path
) -> None:
    # Right after one rename is nearly right before the next: one of each kind is enough there.
    places = [(place, "before") for place in range(1, len(RENAMES) + 1)] + [(place, "after") for place in LAST.values()]
    killed_then_run_again(driver, asked, leaderboard_bytes(small_results), tmp_path, places)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seconds", [0.0, 0.03, 0.1])
def test_killed_at_some_moment_in_training(
    driver: Driver, asked: list[str], long_recipe: list[str], long_run: bytes, tmp_path: Path, seconds: float
) -> None:
    arguments = asked + long_recipe
    killed = driver.one(arguments, tmp_path, kill_after=seconds)
    assert killed["status"] == -signal.SIGKILL
    assert set(map(kind, killed["renames"])) == {"partial"}
    resumed = driver.one(arguments, tmp_path)
    assert resumed["status"] == 0, resumed["err"]
    assert leaderboard_bytes(tmp_path) == long_run
    assert Counter(map(kind, killed["renames"] + resumed["renames"]))["partial"] == LONG


@pytest.fixture(scope="module")
def long_recipe(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments for many epochs of some steps, softmax alone."""
    path = tmp_path_factory.mktemp("long") / "long.toml"
    path.write_text(RECIPE.replace("epochs = 2", f"epochs = {LONG}").replace("128", "16"))
    return ["--recipe", str(path), "--methods", "softmax"]


@pytest.fixture(scope="module")
def long_run(
    driver: Driver, asked: list[str], long_recipe: list[str], tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    """The leaderboard of an undisturbed run of that."""
    results = tmp_path_factory.mktemp("long-results")
    assert driver.one(asked + long_recipe, results)["status"] == 0
    return leaderboard_bytes(results)


def started_training(results: Path, arguments: list[str], models: int) -> "subprocess.Popen[str]":
    """The real command, returned when the first epoch of that many models is stored."""
    process = started("-m", "harness.run", *arguments, "--results", str(results))
    deadline = time.monotonic() + 120
    while len(list(results.glob("checkpoints/[!.]*.partial.safetensors"))) < models and time.monotonic() < deadline:
        time.sleep(0.005)
    return process


@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.exhaustive)])
def test_the_real_command_stopped_in_training(
    driver: Driver, asked: list[str], long_recipe: list[str], long_run: bytes, tmp_path: Path, sent: signal.Signals
) -> None:
    process = started_training(tmp_path, [*asked, *long_recipe], models=1)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted" in one_line(err)
    else:
        assert process.returncode == -signal.SIGKILL
    assert out == ""
    assert len(visible(tmp_path)) == 1, "stopped in training: the state of the last epoch and nothing else"
    assert_complete(tmp_path)
    resumed = driver.one(asked + long_recipe, tmp_path)
    assert resumed["status"] == 0, resumed["err"]
    assert Counter(map(kind, resumed["renames"]))["partial"] < LONG
    assert leaderboard_bytes(tmp_path) == long_run


def test_two_runs_at_once_share_the_work(driver: Driver, asked: list[str], small_results: Path, tmp_path: Path) -> None:
    outcomes = driver.run([child(asked, tmp_path), child(asked, tmp_path)])
    assert [outcome["status"] for outcome in outcomes] == [0, 0], outcomes
    written = outcomes[0]["renames"] + outcomes[1]["renames"]
    done = Counter(map(kind, written))
    assert done == Counter(RENAMES) | Counter(leaderboard=2)
    once = [name for name in written if kind(name) in ("checkpoint", "evidence", "row")]
    assert len(once) == len(set(once))
    assert leaderboard_bytes(tmp_path) == leaderboard_bytes(small_results)


def test_temporary_files_of_a_killed_run_are_no_results(asked: list[str], copied: Path) -> None:
    before = leaderboard_bytes(copied)
    stem = next((copied / "rows").iterdir()).name
    rows_file = next((copied / "rows" / stem).glob("mean*.json"))
    (copied / "rows" / stem / ".tmp-torn.json").write_text(rows_file.read_text()[:100])
    other = json.loads(rows_file.read_text()) | {"row_id": "f" * 64, "train_seed": 7}
    (copied / "rows" / stem / ".tmp-whole.json").write_text(json.dumps(other))
    for folder in ("checkpoints", "evidence"):
        (copied / folder / ".tmp-torn.safetensors").write_bytes(b"torn")
    result = call(*asked, "--results", copied)
    assert result.status == 0, result.err
    assert leaderboard_bytes(copied) == before


FULL = [(what, how) for what in LAST for how in ("errno", "limit")]
TOLD = [("checkpoint", "errno"), ("row", "limit")]
"""Tensors and JSON, told by Python and by the system."""


@pytest.mark.parametrize(
    ("what", "how"), [*TOLD, *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in FULL if case not in TOLD)]
)
def test_full_disk(driver: Driver, asked: list[str], small_results: Path, tmp_path: Path, what: str, how: str) -> None:
    place = LAST[what]  # so that something was finished before
    outcome = driver.one(asked, tmp_path, full=place, how=how)
    assert outcome["status"] == 1, outcome
    line = one_line(outcome["err"])
    assert str(tmp_path / "rows") in line
    assert os.strerror(28) in line if how == "errno" else "too large" in line
    assert len(outcome["renames"]) == place - 1
    assert_complete(tmp_path)
    assert not list(tmp_path.rglob(".tmp-*"))
    kept = [name for name in outcome["renames"] if kind(name) == "row"]
    assert len(kept) >= 3
    before = stamps(tmp_path)
    again = driver.one(asked, tmp_path)
    assert again["status"] == 0, again["err"]
    assert leaderboard_bytes(tmp_path) == leaderboard_bytes(small_results)
    assert all(stamps(tmp_path)[tmp_path / name] == before[tmp_path / name] for name in kept)


def forget(results: Path, *folders: str) -> None:
    """Remove rows or evidence, and the leaderboard."""
    for folder in folders:
        for path in (results / folder).rglob("*"):
            if path.is_file():
                path.unlink()
    (results / "leaderboard.json").unlink()


def checkpoint_of(results: Path, method: str) -> Path:
    """The checkpoint file of a method."""
    (path,) = (results / "checkpoints").glob(f"*-{method}-*.safetensors")
    return path


def describe(path: Path, **changes: Any) -> None:
    """Change fields of a checkpoint's description."""
    side = path.with_suffix(".json")
    side.write_text(json.dumps(json.loads(side.read_text()) | changes))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def swap(path: Path) -> None:
    """Another method's files under this name."""
    other = checkpoint_of(path.parents[1], "sade")
    path.write_bytes(other.read_bytes())
    path.with_suffix(".json").write_bytes(other.with_suffix(".json").read_bytes())


TAMPERED = {
    "truncated": (truncate, "SHA-256"),
    "wrong hash": (lambda path: describe(path, sha256="0" * 64), "SHA-256"),
    "wrong method": (lambda path: describe(path, method="ride"), "holds method 'ride', not 'softmax'"),
    "wrong classes": (lambda path: describe(path, classes=7), "holds classes 7, not 4"),
    "newer schema": (lambda path: describe(path, schema=99), "newer version (schema 99"),
    "another's": (swap, "holds method 'sade', not 'softmax'"),
    "no JSON": (lambda path: path.with_suffix(".json").write_text("{"), "not a checkpoint description"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_tampered_checkpoint_is_refused_by_name_and_the_others_are_done(
    asked: list[str], copied: Path, small_results: Path, case: str
) -> None:
    tamper, said = TAMPERED[case]
    forget(copied, "rows", "evidence")
    path = checkpoint_of(copied, "softmax")
    tamper(path)
    result = call(*asked, "--results", copied)
    assert result.status == 1
    line = one_line(result.err)
    assert said in line
    assert path.stem in line
    assert line.startswith("error: softmax s0: ")
    assert {row.method for row in rows.load_all(copied)} == {"sade"}
    for file in (path, path.with_suffix(".json")):
        file.unlink()
    assert call(*asked, "--results", copied).status == 0
    assert leaderboard_bytes(copied) == leaderboard_bytes(small_results)


def spoil(path: Path, *, key: str | None = None) -> None:
    """Turn the sign of every logit in an evidence file; `key`: also claim to belong to something else."""
    with safe_open(path, framework="np") as stream:
        meta = dict(stream.metadata())
    arrays = load_file(path)
    save_file(arrays | {"logits": -arrays["logits"]}, path, meta | ({"key": key} if key else {}))


def nan(path: Path) -> None:
    with safe_open(path, framework="np") as stream:
        meta = dict(stream.metadata())
    arrays = load_file(path)
    arrays["logits"][0, 0, 0] = np.nan
    save_file(arrays, path, meta)


@pytest.mark.parametrize("how", ["truncated", "stale", "nan", "gone"])
def test_evidence_that_does_not_fit_is_recomputed(
    asked: list[str], copied: Path, small_results: Path, how: str
) -> None:
    forget(copied, "rows")
    for path in (copied / "evidence").glob("[!.]*.safetensors"):
        {"truncated": truncate, "stale": lambda p: spoil(p, key="0" * 64), "nan": nan, "gone": Path.unlink}[how](path)
    result = call(*asked, "--results", copied)
    assert result.status == 0, result.err
    assert leaderboard_bytes(copied) == leaderboard_bytes(small_results)
    for path in (copied / "evidence").glob("[!.]*.safetensors"):
        np.testing.assert_array_equal(
            load_file(path)["logits"], load_file(small_results / "evidence" / path.name)["logits"]
        )


def test_evidence_that_fits_is_not_recomputed(asked: list[str], copied: Path, small_results: Path) -> None:
    """The control of the test above: what fits by its key is used, whatever it holds."""
    forget(copied, "rows")
    for path in (copied / "evidence").glob("[!.]*.safetensors"):
        spoil(path)
    assert call(*asked, "--results", copied).status == 0
    assert leaderboard_bytes(copied) != leaderboard_bytes(small_results)


def test_a_row_that_is_none_is_named(asked: list[str], copied: Path) -> None:
    row = next((copied / "rows").glob("*/mean*.json"))
    row.write_text(row.read_text()[:200])
    result = call(*asked, "--results", copied)
    assert result.status == 1
    assert str(row) in one_line(result.err)
    row.unlink()
    assert call(*asked, "--results", copied).status == 0


def test_rows_of_another_checkpoint_are_measured_again(asked: list[str], copied: Path) -> None:
    changed = [path for path in (copied / "rows").glob("*/mean*.json") if "softmax" in path.parent.name]
    for path in changed:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"checkpoint_sha256": "0" * 64, "top1": 0.0}))
    before = stamps(copied)
    assert call(*asked, "--results", copied).status == 0
    after = stamps(copied)
    assert [path for path in after if after[path] != before[path]] == changed
    assert all(row.checkpoint_sha256 != "0" * 64 for row in rows.load_all(copied))


def test_a_loss_that_is_no_number(asked: list[str], small_results: Path, tmp_path: Path) -> None:
    """One method of three explodes: named with stage, epoch and step; the others' rows are there."""
    arguments = [*asked, "--methods", "softmax", "ldam_drw:max_margin=1e39", "sade", "--results", str(tmp_path)]
    result = call(*arguments)
    assert result.status == 1
    line = one_line(result.err)
    assert line.startswith("error: ldam_drw:max_margin=")
    assert " s0: ldam_drw: loss is " in line
    assert "stage 'experts', epoch 1, step 1 of 1" in line
    assert str(tmp_path / "rows") in line
    assert leaderboard_bytes(tmp_path) == leaderboard_bytes(small_results)


def test_training_that_explodes_later_keeps_the_last_good_state(asked: list[str], recipe: Path, tmp_path: Path) -> None:
    """The first epoch is good; in the second the learning rate is 1e29."""
    wild = tmp_path / "wild.toml"
    wild.write_text(RECIPE.replace("[0.1, 0.01]", "[1e30, 0.01]").replace("128", "16"))
    result = call(*asked, "--recipe", wild, "--methods", "softmax", "--results", tmp_path / "results")
    assert result.status == 1
    line = one_line(result.err)
    assert "softmax: loss is" in line
    assert "epoch 2, step 2 of" in line
    (kept,) = visible(tmp_path / "results" / "checkpoints")
    assert all(np.isfinite(tensor).all() for tensor in load_file(kept).values())
    with safe_open(kept, framework="np") as stream:
        assert json.loads(stream.metadata()["json"])["epochs"] == 1
    assert not visible(tmp_path / "results" / "rows") if (tmp_path / "results" / "rows").exists() else True


def test_an_update_that_explodes_is_not_kept(asked: list[str], recipe: Path, tmp_path: Path) -> None:
    """One step an epoch: the loss before the step is fine, the weights after it are not."""
    wild = tmp_path / "wild.toml"
    wild.write_text(RECIPE + "lr = 1e39\n")
    result = call(*asked, "--recipe", wild, "--methods", "softmax", "--results", tmp_path / "results")
    assert result.status == 1
    assert "weights are NaN or infinite in stage 'experts', epoch 1, step 1 of 1" in one_line(result.err)
    assert visible(tmp_path / "results") == [tmp_path / "results" / "leaderboard.json"]
