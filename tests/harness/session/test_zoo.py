"""Packed weights: small, the same everywhere, refused where they do not belong, and enough for every row."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from harness.records import rows
from methods.jobs import packed as zoo
from methods.training import checkpoint
from shifts.common.errors import BadInput, WorkFailed
from tests.harness.small import call, one_line


def packed(results: Path, folder: Path) -> list[Path]:
    return [zoo.pack(path, folder) for path in sorted((results / "checkpoints").glob("[!.]*.safetensors"))]


def test_half_the_bytes_and_nearly_the_weights(small_results: Path, tmp_path: Path) -> None:
    for path in packed(small_results, tmp_path / "zoo"):
        source = small_results / "checkpoints" / path.name
        small, _ = checkpoint.load_tensors(path)
        whole, _ = checkpoint.load_tensors(source)
        assert path.stat().st_size < 0.7 * source.stat().st_size
        for name, tensor in whole.items():
            torch.testing.assert_close(small[name].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-6)
            assert small[name].dtype == (torch.float16 if tensor.ndim > 1 else tensor.dtype)


def test_rows_from_the_zoo_need_no_training(small_results: Path, asked: list[str], tmp_path: Path) -> None:
    packed(small_results, tmp_path / "zoo")
    for results in (tmp_path / "one", tmp_path / "two"):
        assert call(*asked, "--pretrained", tmp_path / "zoo", "--results", results).status == 0
    one, two = (rows.load_all(tmp_path / name) for name in ("one", "two"))
    trained = {row.row_id: row for row in rows.load_all(small_results)}
    assert {row.row_id for row in one} == set(trained)
    for row, other in zip(one, two, strict=True):
        assert (row.checkpoint_sha256, row.top1, row.nll) == (other.checkpoint_sha256, other.top1, other.nll)
        assert row.checkpoint_sha256 != trained[row.row_id].checkpoint_sha256
        assert row.train_seconds == trained[row.row_id].train_seconds
        if row.adapter == "mean":
            assert row.nll == pytest.approx(trained[row.row_id].nll, rel=0.02)


def test_the_plan_says_where_weights_come_from(small_results: Path, asked: list[str], tmp_path: Path) -> None:
    packed(small_results, tmp_path / "zoo")
    result = call(*asked, "--pretrained", tmp_path / "zoo", "--results", tmp_path / "new", "--dry-run")
    assert result.status == 0
    assert "weights from" in result.out
    assert "0.0 TFLOP" in result.out
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("module", "further", "told"),
    [
        ("harness.sweep", ["--methods", "sade"], ["0 of 1 shifts done; weights from "]),
        ("harness.estimate", ["--adapters", "em"], ["0 of 3 shifts done; weights from "]),
        (
            "harness.why",
            ["--train-subset-seed", "0", "--seeds", "0"],
            ["0 of 1 models answered; 1 with weights from ", "training left: 0.0 TFLOP"],
        ),
    ],
)
def test_plans_of_studies_say_where_weights_come_from(
    small_results: Path, data: Path, recipe: Path, tmp_path: Path, module: str, further: list[str], told: list[str]
) -> None:
    packed(small_results, tmp_path / "zoo")
    asked = ["--dataset", data, "--recipe", recipe, "--device", "cpu", "--train-imbalance", "10", "--methods", "sade"]
    asked += [*further, "--results", tmp_path / "new", "--dry-run"]
    trained = call(*asked, module=module)
    assert "to train, " in trained.out
    result = call(*asked, "--pretrained", tmp_path / "zoo", module=module)
    assert result.status == 0, result.err
    assert "to train" not in result.out
    for text in told:
        assert text in result.out
    assert not (tmp_path / "new").exists()


def test_what_the_zoo_lacks_is_named_before_anything_is_done(
    small_results: Path, asked: list[str], tmp_path: Path
) -> None:
    first, *_ = packed(small_results, tmp_path / "zoo")
    method = json.loads(first.with_suffix(".json").read_text())["method"]
    result = call(*asked, "--seeds", "5", "--pretrained", tmp_path / "zoo", "--results", tmp_path / "new")
    assert result.status == 2
    assert "seed 5" in one_line(result.err)
    assert f"{method} tiny seed 0" in result.err or method in result.err
    assert not (tmp_path / "new").exists()


def test_damaged_weights_are_refused(small_results: Path, asked: list[str], tmp_path: Path) -> None:
    for path in packed(small_results, tmp_path / "zoo"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    result = call(*asked, "--pretrained", tmp_path / "zoo", "--results", tmp_path / "new")
    assert result.status == 1
    assert "fetch both files again" in one_line(result.err)


def test_only_finished_whole_and_small_checkpoints_are_packed(
    small_results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = next((small_results / "checkpoints").glob("[!.]*.safetensors"))
    copy = tmp_path / source.name
    shutil.copy(source, copy)
    with pytest.raises(BadInput, match="no finished checkpoint"):
        zoo.pack(copy, tmp_path / "zoo")
    shutil.copy(source.with_suffix(".json"), copy.with_suffix(".json"))
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    with pytest.raises(WorkFailed, match="SHA-256"):
        zoo.pack(copy, tmp_path / "zoo")
    monkeypatch.setattr(zoo, "LARGEST", 1000)
    with pytest.raises(BadInput, match="the zoo takes"):
        zoo.pack(source, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    checkpoint.save(path, {"weight": torch.full((2, 2), 1e6)}, {"key": "k"})
    with pytest.raises(WorkFailed, match="half precision"):
        zoo.pack(path, tmp_path / "zoo")
