"""Small things that tests of the harness are made of: data, a recipe, commands, rows, evidence, a driver of faults."""

import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from harness.evidence.arrays import Evidence, PoolEvidence, Source
from methods.core.priors import ExpertPriors

PROGRESS = re.compile(r"\[\d+/\d+\] ")
ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("driver.py")

RECIPE = """\
backbone = "resnet8"
epochs = 2
batch_size = 128
warmup = 0
milestones = [1, 2]
factors = [0.1, 0.01]
"""
ADAPTERS = ["mean", "sade", "em", "oracle_prior", "best_expert"]
ASKED = ["--device", "cpu", "--train-imbalance", "10", "--views", "1", "--redraws", "1", "--methods", "softmax", "sade"]
ASKED += ["--adapters", *ADAPTERS]
SMALL_ROWS = 3 + 5
"""softmax has one expert, so neither sade nor best_expert applies to it."""


def png(pixels: np.ndarray) -> bytes:
    """Encoded grey pixels [H, W] or RGB [H, W, 3]."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def images(labels: np.ndarray, side: int = 8, seed: int = 0) -> list[bytes]:
    """Noise around a grey value that tells the class, one of four."""
    rng = np.random.default_rng(seed)
    return [png(np.clip(rng.normal(60 + 40 * (label % 4), 50, (side, side)), 0, 255)) for label in labels]


def write_dataset(folder: Path, classes: int = 4, per_class: int = 60, **changes: dict[str, list[Any]]) -> Path:
    """Train and test splits as parquet in Hub layout; `train=` and `test=` replace a split's columns (one or both)."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(parents=True)
    for seed, split in enumerate(("train", "test")):
        labels = np.arange(classes * per_class) % classes
        columns = {"image": images(labels, seed=seed), "label": labels.tolist()} | changes.get(split, {})
        table = {
            name: [{"bytes": value, "path": f"{index}.png"} for index, value in enumerate(values)]
            if values and isinstance(values[0], bytes)
            else values
            for name, values in columns.items()
            if values is not None
        }
        parquet.write_table(pyarrow.table(table), folder / f"{split}-00000-of-00001.parquet")
    return folder


@dataclass(frozen=True)
class Result:
    """How a command ended; `progress` are the lines on finished models, which are not among those of `err`."""

    status: int
    out: str
    err: str
    progress: tuple[str, ...] = ()


def result(status: int, out: str, err: str) -> Result:
    """A command's end, with progress apart."""
    lines = err.splitlines(keepends=True)
    progress = [line for line in lines if PROGRESS.match(line)]
    return Result(status, out, "".join(line for line in lines if line not in progress), tuple(progress))


def call(*arguments: object, module: str = "harness.run", page: bool = False) -> Result:
    """A command inside this process; a run makes no page unless asked to."""
    main = importlib.import_module(module).main
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in _words(arguments, module, page)])
    return result(int(status or 0), out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    """For started processes: one thread, this clone first, this interpreter as `python`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PATH": path}


def _words(arguments: Sequence[object], module: str, page: bool) -> Sequence[object]:
    return arguments if page or module != "harness.run" else (*arguments, "--no-page")


def command(*arguments: object, module: str = "harness.run", page: bool = False) -> Result:
    """A command in a process of its own; a run makes no page unless asked to."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, _words(arguments, module, page))],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=300,
    )
    return result(done.returncode, done.stdout, done.stderr)


def started(*words: str, **named: Any) -> "subprocess.Popen[str]":
    """Start Python with these words. Ctrl-C ends it; a job in the background of a shell is deaf to that otherwise."""
    return subprocess.Popen(
        [sys.executable, *words],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()} | named,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def one_line(text: str) -> str:
    """The only line of `text` that is no progress."""
    lines = [line for line in text.splitlines() if not PROGRESS.match(line)]
    assert len(lines) == 1, text
    return lines[0]


def leaderboard_bytes(results: Path) -> bytes:
    """The leaderboard as it lies on the disk."""
    return (results / "leaderboard.json").read_bytes()


def visible(results: Path) -> list[Path]:
    """Every file that is neither temporary nor a lock."""
    return sorted(path for path in results.rglob("*") if path.is_file() and not path.name.startswith("."))


def stamps(results: Path) -> dict[Path, tuple[int, str]]:
    """Time of writing and SHA-256 of every file that is kept."""
    return {
        path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in visible(results)
        if path.name != "leaderboard.json"
    }


class Driver:
    """Talks to `driver.py`, which forks children that die, fail or race; see there for what a child can be told."""

    def __enter__(self) -> "Driver":
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def run(self, children: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Run children, at most two at once; returns status (negative: signal), stderr and renames of each."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(children) + "\n")
        self._process.stdin.flush()
        outcomes: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return outcomes

    def one(self, arguments: list[str], results: Path, **fault: Any) -> dict[str, Any]:
        """Run one child."""
        return self.run([child(arguments, results, **fault)])[0]


def child(arguments: list[str], results: Path, **fault: Any) -> dict[str, Any]:
    """What the driver is told of one child, which makes no page."""
    return {"arguments": [*arguments, "--no-page", "--results", str(results)], "results": str(results), "fault": fault}


def random_pool(
    seed: int = 0, images: int = 400, experts: int = 3, classes: int = 5, pairs: int = 2, signal: float = 1.5
) -> PoolEvidence:
    """A pool whose experts know their classes a little; every class has images, train counts fall with the index.

    With a source of 20 images a class.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % classes)
    logits = rng.normal(size=(images, experts, classes)) + signal * np.eye(classes)[labels][:, None]
    views = logits + rng.normal(size=(pairs, 2, images, experts, classes)) * np.linspace(0.3, 2, experts)[:, None]
    priors = rng.dirichlet(np.full(classes, 2.0), size=experts)
    known = np.arange(20 * classes) % classes
    labelled = rng.normal(size=(len(known), experts, classes)) + signal * np.eye(classes)[known][:, None]
    source = Source(labelled.astype(np.float32), known, 0)
    return PoolEvidence(
        evidence=Evidence(logits.astype(np.float32), views.astype(np.float32) if pairs else None, source=source),
        labels=labels.astype(np.int64),
        train_counts=np.maximum((500 * 0.3 ** np.arange(classes)).astype(np.int64), 1),
        expert_priors=ExpertPriors(priors, exact=True),
        class_names=tuple(f"class {c}" for c in range(classes)),
        metadata={},
    )
