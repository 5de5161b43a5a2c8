"""The committed reference: its leaderboard is what its packed rows give."""

import json
import shutil
from pathlib import Path

import pytest

from harness.board import build as leaderboard
from harness.board.schema import validate
from harness.records import rows
from shifts.labels.shift import published_shifts

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.mark.parametrize("folder", [REFERENCE, REFERENCE / "cifar100-x0.1"], ids=lambda folder: folder.name)
def test_the_reference_leaderboard_follows_from_its_rows(folder: Path, tmp_path: Path) -> None:
    committed = (folder / "leaderboard.json").read_bytes()
    validate(json.loads(committed))
    for file in folder.glob("*.parquet"):
        shutil.copy(file, tmp_path)
    assert leaderboard.write(tmp_path).read_bytes() == committed


def test_the_embedded_reference_is_whole() -> None:
    committed = json.loads((REFERENCE / "leaderboard.json").read_text(encoding="utf-8"))
    embedded = [entry for entry in committed["entries"] if entry["dataset"] == "embedded"]
    order_free = {"shuffled_lt-50-s0", "dirichlet-1-s0", "dirichlet-0.1-s0"}
    assert {entry["shift"] for entry in embedded} == {str(shift) for shift in published_shifts()} | order_free
    assert all(entry["train_seeds"] == [0, 1, 2] for entry in embedded)


def test_reference_files_stay_small() -> None:
    assert all(file.stat().st_size <= 6_000_000 for file in REFERENCE.rglob("*") if file.is_file())


def test_shortened_runs_say_so() -> None:
    found = rows.load_all(REFERENCE / "cifar100-x0.1")
    assert {row.recipe for row in found} == {"published-x0.1-bf16"}
    assert {row.epochs for row in found if row.method == "sade"} == {20}
    assert all(row.train_seed == 0 for row in found)
