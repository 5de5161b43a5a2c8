"""The committed reference: its leaderboard, whose hash is committed, is what its packed rows give."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from harness.board import build as leaderboard
from harness.board.schema import validate
from harness.records import rows
from shifts.labels.shift import published_shifts

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.fixture(scope="module", params=["reference", "reference/cifar100-x0.1"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name of a leaderboard among the hashes, and the file as it is made of the rows."""
    folder = tmp_path_factory.mktemp("reference")
    for file in (REFERENCE.parent / request.param).glob("*.parquet"):
        shutil.copy(file, folder)
    name = Path(request.param).relative_to("reference") / "leaderboard.json"
    return str(name), leaderboard.write(folder)


@pytest.mark.exhaustive
def test_the_reference_leaderboard_follows_from_its_rows(made: tuple[str, Path]) -> None:
    name, file = made
    lines = (REFERENCE / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    hashes = {path: sha256 for sha256, path in (line.split("  ") for line in lines)}
    assert hashlib.sha256(file.read_bytes()).hexdigest() == hashes[name]
    validate(json.loads(file.read_bytes()))


def test_the_embedded_reference_is_whole() -> None:
    embedded = [row for row in rows.load_all(REFERENCE) if row.dataset == "embedded" and row.adapter == "mean"]
    order_free = {"shuffled_lt-50-s0", "dirichlet-1-s0", "dirichlet-0.1-s0"}
    shifts = {str(shift) for shift in published_shifts()} | order_free
    found = {(row.method, row.train_seed) for row in embedded if row.shift in order_free}
    for method in {method for method, _ in found}:
        assert {seed for other, seed in found if other == method} == {0, 1, 2}
        assert {row.shift for row in embedded if row.method == method} == shifts


def test_reference_files_stay_small() -> None:
    kept = [file for file in REFERENCE.rglob("*") if file.is_file() and file.name != "leaderboard.json"]
    assert all(file.stat().st_size <= 10_000_000 for file in kept)


def test_shortened_runs_say_so() -> None:
    found = rows.load_all(REFERENCE / "cifar100-x0.1")
    assert {row.recipe for row in found} == {"published-x0.1-bf16"}
    assert {row.epochs for row in found if row.method == "sade"} == {20}
    assert all(row.train_seed == 0 for row in found)
