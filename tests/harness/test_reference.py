"""The committed reference: its leaderboard is what its packed rows give."""

import json
import shutil
from pathlib import Path

from harness import leaderboard
from shifts.shift import published_shifts

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def test_the_reference_leaderboard_follows_from_its_rows(tmp_path: Path) -> None:
    committed = json.loads((REFERENCE / "leaderboard.json").read_text(encoding="utf-8"))
    leaderboard.validate(committed)
    for file in REFERENCE.glob("*.parquet"):
        shutil.copy(file, tmp_path)
    written = leaderboard.write(tmp_path).read_bytes()
    assert written == (REFERENCE / "leaderboard.json").read_bytes()
    embedded = [entry for entry in committed["entries"] if entry["dataset"] == "embedded"]
    order_free = {"shuffled_lt-50-s0", "dirichlet-1-s0", "dirichlet-0.1-s0"}
    assert {entry["shift"] for entry in embedded} == {str(shift) for shift in published_shifts()} | order_free
    assert all(entry["train_seeds"] == [0, 1, 2] for entry in embedded)


def test_reference_files_stay_small() -> None:
    assert all(file.stat().st_size <= 6_000_000 for file in REFERENCE.rglob("*") if file.is_file())
