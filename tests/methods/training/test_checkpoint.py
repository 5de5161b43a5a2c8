"""Checkpoints: what is written is read back, and every file that does not fit is refused by name."""

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import harness
import methods
import shifts
from methods import papers
from methods.core.batch import NetworkSpec
from methods.training import checkpoint
from methods.training.checkpoint import load_tensors, save_tensors
from methods.training.loop import build_network
from shifts.common.errors import WorkFailed

SPEC = NetworkSpec("resnet8", (30, 20, 10), (8, 8))
DESCRIPTION = {"method": "sade", "classes": 3, "seed": 0, "losses": [1.5, 0.25]}
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {("torch", "load"), ("torch", "save"), ("np", "save"), ("np", "load"), ("numpy", "load")}


def network(seed: int = 0, spec: NetworkSpec = SPEC, method: str = "sade") -> nn.Module:
    return build_network(papers.get(method), spec, seed)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of a network whose BatchNorm has seen images."""
    trained = network()
    trained(torch.randn(4, 3, 8, 8))
    path = tmp_path / "run.safetensors"
    checkpoint.save(path, trained.state_dict(), DESCRIPTION)
    return path


def load(path: Path, into: nn.Module | None = None, **changes: Any) -> dict[str, Any]:
    return checkpoint.load(path, into or network(1), **{"method": "sade", "classes": 3, **changes})


def test_weights_buffers_and_description_are_read_back(tmp_path: Path) -> None:
    trained, path = network(), tmp_path / "new folder" / "run.safetensors"
    trained(torch.randn(4, 3, 8, 8))
    full = checkpoint.save(path, trained.state_dict(), DESCRIPTION)
    assert full == {**DESCRIPTION, "schema": checkpoint.CHECKPOINT_SCHEMA, "sha256": full["sha256"]}
    assert checkpoint.describe(path) == full
    fresh = network(1)
    assert load(path, fresh) == full
    for name, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["run.json", "run.safetensors"]


def test_the_same_weights_are_the_same_file(tmp_path: Path) -> None:
    hashes = [
        checkpoint.save(tmp_path / f"{n}.safetensors", network().state_dict(), DESCRIPTION)["sha256"] for n in (1, 2)
    ]
    other = checkpoint.save(tmp_path / "3.safetensors", network(1).state_dict(), DESCRIPTION)["sha256"]
    assert hashes[0] == hashes[1] != other


def test_tensors_of_any_form_and_metadata_are_read_back(tmp_path: Path) -> None:
    channels_last = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    tensors = {
        "a": channels_last,
        "b": torch.tensor(3),
        "c": torch.randn(4, 6).T.requires_grad_(),
        "d": torch.randn(3).to(torch.bfloat16),
        "e": torch.zeros(0, 5),
    }
    metadata = {"losses": [0.1, 1e-300], "text": "ü", "none": None}
    save_tensors(tmp_path / "t.safetensors", tensors, metadata)
    found, read = load_tensors(tmp_path / "t.safetensors")
    assert read == metadata
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(found[name], value)
        assert found[name].dtype == value.dtype


def test_metadata_that_json_does_not_have_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        save_tensors(tmp_path / "t.safetensors", {}, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_half_a_checkpoint_is_none(saved: Path, suffix: str) -> None:
    saved.with_suffix(suffix).unlink()
    assert checkpoint.describe(saved) is None
    with pytest.raises(WorkFailed, match=r"run\.safetensors: no complete checkpoint"):
        load(saved)


def test_other_methods_and_classes_are_refused(saved: Path) -> None:
    with pytest.raises(WorkFailed, match=r"run\.safetensors: holds method 'sade', not 'sade:tau=3'"):
        load(saved, method="sade:tau=3")
    with pytest.raises(WorkFailed, match=r"run\.safetensors: holds classes 3, not 4"):
        load(saved, network(spec=NetworkSpec("resnet8", (3, 2, 2, 1), (8, 8))), classes=4)


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], lambda data: data[:100], lambda data: b"", lambda data: data[:-1] + bytes([data[-1] ^ 1])],
    ids=["cut", "cut short", "empty", "one bit"],
)
def test_changed_weights_are_refused_and_not_loaded(saved: Path, change: Callable[[bytes], bytes]) -> None:
    saved.write_bytes(change(saved.read_bytes()))
    fresh = network(1)
    with pytest.raises(WorkFailed, match=r"run\.safetensors: its SHA-256 is not the one in its \.json"):
        load(saved, fresh)
    assert torch.equal(fresh.state_dict()["heads.0.weight"], network(1).state_dict()["heads.0.weight"])


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x08\0\0\0\0\0\0\0{bad}   "])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(WorkFailed, match=r"x\.safetensors: truncated or not a safetensors file .*; delete it"):
        load_tensors(path)


def test_a_missing_tensor_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match=r"x\.safetensors: truncated or not"):
        load_tensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '"text"', '{"schema": null}', '{"schema": "one"}', "\ufeff{", "3"], ids=str
)
def test_an_unreadable_description_is_named(saved: Path, text: str) -> None:
    saved.with_suffix(".json").write_text(text, encoding="utf-8")
    with pytest.raises(WorkFailed, match=r"run\.json: not a checkpoint description .*; delete it"):
        checkpoint.describe(saved)


def test_a_newer_schema_is_refused(saved: Path) -> None:
    side = saved.with_suffix(".json")
    side.write_text(json.dumps({**json.loads(side.read_text()), "schema": checkpoint.CHECKPOINT_SCHEMA + 1}))
    with pytest.raises(WorkFailed, match=r"run\.json: written by a newer version \(schema 2, this one reads 1\)"):
        load(saved)


def test_weights_of_another_network_are_refused(saved: Path) -> None:
    deeper = network(spec=NetworkSpec("resnet14", (30, 20, 10), (8, 8)))
    with pytest.raises(WorkFailed, match=r"run\.safetensors: does not fit the network of sade"):
        load(saved, deeper)
    wider = network(spec=NetworkSpec("resnet8", (30, 20, 10, 5), (8, 8)))
    with pytest.raises(WorkFailed, match=r"does not fit the network of sade: .*size mismatch"):
        load(saved, wider)


def sources() -> Iterator[Path]:
    for package in (methods, harness, shifts):
        yield from sorted(Path(package.__path__[0]).rglob("*.py"))


def weights_only(call: ast.Call) -> bool:
    said = [word.value for word in call.keywords if word.arg == "weights_only"]
    return len(said) == 1 and isinstance(said[0], ast.Constant) and said[0].value is True


def code_that_could_run_a_file(text: str) -> list[str]:
    """Imports of pickling modules, calls of torch.load and its like, and `allow_pickle` in Python source.

    torch.load(..., weights_only=True) reads other people's weights and runs nothing.
    """
    found = []
    nodes = list(ast.walk(ast.parse(text)))
    restricted = [node.func for node in nodes if isinstance(node, ast.Call) and weights_only(node)]
    for node in nodes:
        if node in restricted:
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found += [name for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        found += [name for name in names if tuple(name.rsplit(".", 1)) in FORBIDDEN_CALLS]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [node.attr] if (node.value.id, node.attr) in FORBIDDEN_CALLS else []
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found.append("allow_pickle")
        if isinstance(node, ast.Attribute) and node.attr.endswith("pickle"):
            found.append(node.attr)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "from torch import load",
        "frame.to_pickle('x')",
        "f(x, allow_pickle=True)",
        "np.load('x')",
    ],
)
def test_the_search_for_pickles_finds_them(text: str) -> None:
    assert code_that_could_run_a_file(text)


def test_nothing_is_pickled() -> None:
    files = list(sources())
    assert len(files) > 40
    found = {str(path): code_that_could_run_a_file(path.read_text(encoding="utf-8")) for path in files}
    assert {path: names for path, names in found.items() if names} == {}
