"""The examples run, from their own command lines, and stay short."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.evidence import files as evidence

EXAMPLES = Path(__file__).parents[1] / "examples"
RECIPE = 'backbone = "resnet8"\nepochs = 1\nwarmup = 0\nmilestones = [1, 1]\n'


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_examples_are_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 40


def test_own_model(tmp_path: Path) -> None:
    run(tmp_path, str(EXAMPLES / "own_model.py"), "mine.safetensors")
    table = run(tmp_path, "-m", "harness.run", "--evidence", "mine.safetensors", "--redraws", "0")
    assert "best_expert" in table
    assert "calibrated" in table, "it has labelled source images"


def test_torch_model(tmp_path: Path) -> None:
    run(tmp_path, str(EXAMPLES / "torch_model.py"), "mine.safetensors")
    pool = evidence.load(tmp_path / "mine.safetensors")
    assert (pool.evidence.logits.argmax(2)[:, 0] == pool.labels).mean() > 0.55
    assert pool.evidence.source is not None
    assert pool.evidence.classifiers is not None


@pytest.mark.parametrize(
    ("example", "name", "asked"),
    [
        ("new_method.py", "focal_softmax:gamma=1", ["--methods", "focal_softmax:gamma=1", "--adapters", "mean"]),
        ("new_adapter.py", "confident:power=4", ["--methods", "sade", "--adapters", "mean", "confident:power=4"]),
    ],
)
def test_new_method_and_adapter_on_a_new_dataset(tmp_path: Path, example: str, name: str, asked: list[str]) -> None:
    run(tmp_path, str(EXAMPLES / "new_dataset.py"), "my-data")
    (tmp_path / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    data = ["--dataset", "my-data", "--train-imbalance", "20", "--recipe", "tiny.toml", "--device", "cpu"]
    table = run(tmp_path, str(EXAMPLES / example), *asked, *data, "--imbalance", "10", "--redraws", "0")
    assert name in table
    assert name.partition(":")[0] in run(tmp_path, str(EXAMPLES / example), "--list")
