"""Models on a Dask cluster of worker processes: the same rows; a worker that dies loses nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness.small import RECIPE, call, environment, leaderboard_bytes, one_line


@pytest.fixture(autouse=True, scope="module")
def distributed() -> Any:
    """The library of the cluster, or why there is none; loaded where these tests run, not where they are found."""
    return pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


def started(words: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    """A part of the cluster, silent."""
    given = environment() | {"DASK_DISTRIBUTED__ADMIN__LOG_FORMAT": "%(message)s", "PYTHONPATH": str(Path.cwd())}
    return subprocess.Popen(
        [sys.executable, "-m", *words], cwd=folder, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def threads(distributed: Any) -> Iterator[str]:
    """A scheduler and a worker in threads of this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def address(distributed: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with two workers, which are started anew where they die."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    words = ["--scheduler-file", str(file), "--no-dashboard"]
    parts = [started(["distributed.cli.dask_scheduler", *words, "--port", "0"], folder)]
    until = time.monotonic() + 120
    while not file.exists():
        assert parts[0].poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    each = ["--nthreads", "1", "--nworkers", "2", "--no-dashboard", "--local-directory", str(folder)]
    parts.append(started(["distributed.cli.dask_worker", "--scheduler-file", str(file), *each], folder))
    with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=120)
        yield client.scheduler.address
    for part in parts[::-1]:
        part.terminate()
        part.wait(30)


@pytest.mark.parametrize("where", ["threads", pytest.param("address", marks=pytest.mark.exhaustive)])
def test_rows_are_those_of_a_local_run(
    asked: list[str], small_results: Path, tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    done = call(*asked, "--engine", "dask", "--scheduler", request.getfixturevalue(where), "--results", tmp_path)
    assert (done.status, done.err) == (0, "")
    assert leaderboard_bytes(tmp_path) == leaderboard_bytes(small_results)


@pytest.mark.exhaustive
def test_a_worker_that_is_killed_loses_nothing(
    distributed: Any, asked: list[str], tmp_path: Path, address: str
) -> None:
    longer = tmp_path / "longer.toml"
    longer.write_text(RECIPE.replace("epochs = 2", "epochs = 60"))
    asked = [*asked, "--recipe", str(longer)]
    words = [*asked, "--engine", "dask", "--scheduler", address, "--results", str(tmp_path / "there")]
    run = subprocess.Popen(
        [sys.executable, "-m", "harness.run", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    until = time.monotonic() + 200
    while not list((tmp_path / "there").glob("checkpoints/*.partial.safetensors")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    with distributed.Client(address, set_as_default=False) as client:
        pids = client.run(os.getpid)
        busy = [name for name, tasks in client.processing().items() if tasks]
    os.kill(pids[busy[0]], signal.SIGKILL)
    _, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    assert not psutil.pid_exists(pids[busy[0]]) or psutil.Process(pids[busy[0]]).status() == psutil.STATUS_ZOMBIE
    assert call(*asked, "--results", tmp_path / "here").status == 0
    assert leaderboard_bytes(tmp_path / "there") == leaderboard_bytes(tmp_path / "here")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "dask"], "--scheduler ADDRESS"),
        (["--scheduler", "tcp://127.0.0.1:1"], "--engine dask"),
        (["--engine", "dask", "--scheduler", "tcp://127.0.0.1:1"], "nothing answers at tcp://127.0.0.1:1"),
    ],
)
def test_refused(
    asked: list[str], tmp_path: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.processes import cluster

    monkeypatch.setattr(cluster, "PATIENCE", 1)
    done = call(*asked, *words, "--results", tmp_path)
    assert done.status == 2
    assert said in one_line(done.err)
