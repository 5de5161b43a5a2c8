"""Models side by side in processes of their own: the same numbers, and what happens where one of them dies."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from methods.jobs.request import TrainingRequest
from methods.processes import distributed, workers
from tests.harness.small import PROGRESS, RECIPE, call, leaderboard_bytes, one_line, stamps, started
from tests.methods import dying

BAD = "ldam_drw:max_margin=1e39"
"""A method whose loss is no number in the first step."""


def test_the_leaderboard_does_not_depend_on_the_number_of_workers_or_on_a_model_that_fails_beside(
    asked: list[str], small_results: Path, tmp_path: Path
) -> None:
    done = call(*asked, "--methods", "softmax", BAD, "sade", "--workers", "2", "--results", tmp_path)
    assert done.status == 1
    assert one_line(done.err).count("ldam_drw: loss is") == 1
    assert leaderboard_bytes(tmp_path) == leaderboard_bytes(small_results)
    assert {line.split()[1] for line in done.progress} == {"softmax", "sade"}
    assert all(re.match(r"\[[123]/3\] ", line) for line in done.progress)
    kept = stamps(tmp_path)
    again = call(*asked, "--workers", "2", "--results", tmp_path)
    assert (again.status, again.err, again.progress) == (0, "", ())
    assert stamps(tmp_path) == kept


@pytest.mark.exhaustive
def test_a_model_that_fails_beside_others_is_named_once_in_training(data: Path, recipe: Path, tmp_path: Path) -> None:
    arguments = ["--dataset", data, "--recipe", recipe, "--train-imbalance", "10", "--results", tmp_path]
    trained = call(*arguments, "--methods", BAD, "softmax", "--workers", "2", module="methods.train")
    assert trained.status == 1
    assert one_line(trained.err).count("ldam_drw: loss is") == 1
    assert "softmax" in one_line(trained.out)


@pytest.fixture
def training(asked: list[str], tmp_path: Path) -> "subprocess.Popen[str]":
    """A command whose two models are being trained by two workers, and would be for hours."""
    endless = tmp_path / "endless.toml"
    endless.write_text(RECIPE.replace("epochs = 2", "epochs = 100_000"))
    process = started(
        *("-m", "harness.run", *asked, "--recipe", str(endless), "--workers", "2", "--results", str(tmp_path))
    )
    until = time.monotonic() + 300
    while len(list(tmp_path.glob("checkpoints/*.partial.safetensors"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


def children_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The workers: processes that hold a lock of a checkpoint open, or wait for work."""
    return [
        child for child in psutil.Process(process.pid).children() if "resource_tracker" not in " ".join(child.cmdline())
    ]


def unlocked(results: Path) -> bool:
    """Whether nobody holds a lock of the results any more."""
    for lock in results.glob("checkpoints/.*.lock"):
        with FileLock(lock).acquire(timeout=60):
            pass
    return True


@pytest.mark.exhaustive
def test_ctrl_c_ends_all_workers(training: "subprocess.Popen[str]", tmp_path: Path) -> None:
    children = children_of(training)
    assert len(children) >= 2
    training.send_signal(signal.SIGINT)
    out, err = training.communicate(timeout=60)
    assert (out, training.returncode) == ("", 130)
    assert "interrupted" in err.splitlines()[-1]
    assert not psutil.wait_procs(children, timeout=60)[1]
    assert unlocked(tmp_path)


@pytest.mark.exhaustive
def test_workers_end_when_the_main_process_is_killed(training: "subprocess.Popen[str]", tmp_path: Path) -> None:
    children = children_of(training)
    training.kill()
    training.communicate()
    assert not psutil.wait_procs(children, timeout=60)[1]
    assert unlocked(tmp_path)


def test_what_died_with_its_process_is_done_again_and_named_if_it_dies_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with workers.side_by_side(2) as pool:
        failures = workers.work_off("abcde", partial(dying.work, tmp_path / "note"), pool, 2)
    assert failures == "d: its process died twice (killed, or out of memory)"
    told = [line for line in capsys.readouterr().err.splitlines() if PROGRESS.match(line)]
    assert sorted(line.split()[1] for line in told) == ["a:", "b:", "c:", "e:"]


class Brittle(workers.Inline):
    """A pool one of whose processes died while it had nothing to do."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise BrokenExecutor


def test_a_process_that_died_idle_is_replaced() -> None:
    pools = iter([Brittle(), workers.Inline()])
    failures = workers.work_off("ab", lambda place, patient, slot: workers.Outcome("done"), lambda: next(pools), 1)
    assert failures == ""


def test_what_is_busy_elsewhere_is_left_for_last_and_then_waited_for() -> None:
    asked: list[tuple[int, bool]] = []

    def work(place: int, patient: bool, slot: int) -> workers.Outcome:
        asked.append((place, patient))
        return workers.Outcome("busy" if place == 0 and not patient else "done")

    assert workers.work_off("ab", work, workers.Inline, 1) == ""
    assert asked == [(0, False), (1, False), (0, False), (0, True)] or asked == [(0, False), (1, False), (0, True)]


def test_the_number_of_workers_follows_cores_memory_and_models(monkeypatch: pytest.MonkeyPatch) -> None:
    import loky

    monkeypatch.setattr(loky, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.2, 0, 0))
    memory = type("Memory", (), {"available": 64 * 2**30})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert workers.automatic(40, 1, "cpu") == 16
    assert workers.automatic(3, 1, "cpu") == 3
    assert workers.automatic(40, 4, "cpu") == 4
    monkeypatch.setattr(os, "getloadavg", lambda: (13.9, 0, 0))
    assert workers.automatic(40, 1, "cpu") == 2, "a shared machine is not taken from the others"
    memory.available = 5 * 2**30
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0, 0))
    assert workers.automatic(40, 1, "cpu") == 2


def test_one_model_needs_no_other_process() -> None:
    assert TrainingRequest().chosen_workers(1, 1, "cpu") == 1


def test_workers_are_not_for_torchrun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in distributed.LAUNCHED:
        monkeypatch.setenv(name, "0")
    with pytest.raises(Exception, match="--workers"):
        TrainingRequest(workers=2).chosen_workers(2, 1, "cpu")
    assert TrainingRequest().chosen_workers(2, 1, "cpu") == 1
