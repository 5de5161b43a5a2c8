"""A stranger's model with labelled source images, through the real command."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from harness.board import build as leaderboard
from harness.board.schema import validate
from harness.records import rows
from tests.harness.small import call, random_pool

SOURCE = ["calibrated", "em_bcts", "eb_em", "eb_em_recal", "bbse", "rlls", "stream_em_bcts", "stream_history"]
SOURCE += ["cm_ml", "cm_map", "elsa", "kdey_ml", "stream_flh_ftl", "stream_rogd"]
PLAIN = ["map_em", "mapls", "roid_prior", "stream_sade", "stream_em", "stream_em:order=drift"]


def write(path: Path, seen: int, labels: np.ndarray | None = None) -> Path:
    """Evidence of 400 images of 5 classes; `labels` replace those of the source."""
    pool = random_pool()
    evidence, source = pool.evidence, pool.evidence.source
    assert source is not None
    assert evidence.views is not None
    content = {
        "logits": evidence.logits,
        "views": evidence.views,
        "labels": pool.labels,
        "train_counts": pool.train_counts,
        "expert_priors": pool.expert_priors.values,
        "source_logits": source.logits,
        "source_labels": source.labels if labels is None else labels,
    }
    save_file(content, path, {"source_seen": str(seen)})
    return path


def test_every_adapter_runs_and_says_what_it_knew(tmp_path: Path) -> None:
    file = write(tmp_path / "theirs.safetensors", seen=20)
    asked = ["--redraws", "1", "--shift", "backward_lt-10", "--top", "0", "--results", tmp_path / "results"]
    result = call("--evidence", file, *asked, "--adapters", *SOURCE, *PLAIN)
    assert result.status == 0, result.err
    found = {row.adapter: row for row in rows.load_all(tmp_path / "results")}
    assert set(found) == {*SOURCE, *PLAIN}
    for name, row in found.items():
        assert (row.label_access, row.source_n, row.source_seen) == (
            ("source", 100, 20) if name in SOURCE else ("none", 0, 0)
        )
        assert (row.test_access == "stream") == name.startswith("stream")
        assert (row.tv_estimate_test is None) == (name == "calibrated")
        assert (row.weights is None) == (name != "stream_sade"), "a calibration's slope is no expert weight"
        assert len(row.redraws) == 1
    assert found["stream_em"].correct_bits != found["stream_em:order=drift"].correct_bits
    assert found["eb_em"].tv_estimate_test is not None
    assert found["eb_em"].tv_estimate_test < 0.2
    validate(leaderboard.read(tmp_path / "results"))
    titles = [line for line in result.out.splitlines() if line.startswith("-- ")]
    assert titles == [
        "-- a stream of unlabelled test images",
        "-- the unlabelled test set",
        "-- one image at a time and labelled source images",
        "-- a stream of unlabelled test images and labelled source images",
        "-- the unlabelled test set and labelled source images",
    ]
    assert "stream, 100 labels" in result.out
    before = {path: path.stat().st_mtime_ns for path in rows.folder(tmp_path / "results").rglob("*.json")}
    assert call("--evidence", file, *asked, "--adapters", *SOURCE, *PLAIN).status == 0
    assert {path: path.stat().st_mtime_ns for path in rows.folder(tmp_path / "results").rglob("*.json")} == before


def test_a_source_without_a_class_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "partly.safetensors", seen=0, labels=np.arange(100) % 4)
    asked = ["--evidence", file, "--redraws", "0", "--shift", "uniform", "--results", tmp_path / "results"]
    result = call(*asked, "--adapters", "mean", "eb_em")
    assert result.status == 0, result.err
    assert "note: eb_em does not apply to partly: its source has no image of class 4" in result.out
    assert {row.adapter for row in rows.load_all(tmp_path / "results")} == {"mean"}
