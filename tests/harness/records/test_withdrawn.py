"""Withdrawn versions of adapters: no reader uses their rows, and each says so."""

from pathlib import Path

import pytest

from harness.adapters import ADAPTERS
from harness.adapters import get as adapter_of
from harness.records import rows, withdrawn
from harness.records.rows import Row
from tests.harness.fake import fake_row
from tests.harness.small import Result, call


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A row of a withdrawn version beside one of the version that replaced it, and one of an adapter of its own."""
    found: list[Row] = [
        fake_row(adapter="eb_em", adapter_version=1, train_seed=0),
        fake_row(adapter="eb_em", adapter_version=2, train_seed=0),
        fake_row(adapter="eb_em_recal:rule=best", adapter_version=1, train_seed=0),
    ]
    rows.pack(found[:2], tmp_path)
    rows.store(tmp_path / "rows" / "x" / "third.json", found[2])
    return tmp_path


def test_what_is_withdrawn_has_a_newer_version_and_a_reason() -> None:
    for (adapter, version), reason in withdrawn.reasons().items():
        assert adapter in ADAPTERS
        assert version < adapter_of(adapter).version
        assert reason


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("harness.leaderboard", []),
        ("harness.leaderboard", ["--pack", "packed"]),
        ("harness.export", ["--format", "csv", "--output", "rows.csv"]),
        ("harness.answer", []),
        ("harness.report", []),
    ],
)
def test_readers_leave_them_out_and_say_so(
    module: str,
    arguments: list[str],
    results: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("there"))
    done: Result = call("--results", results, *arguments, module=module)
    assert done.status == 0
    for which in ("eb_em version 1 (its folds", "eb_em_recal:rule=best version 1 (its folds"):
        assert f"note: {results}: left out, withdrawn: 1 x {which}" in done.err
    (kept,) = rows.load_all(results)
    assert (kept.adapter, kept.adapter_version) == ("eb_em", 2)
    if arguments[:1] == ["--pack"]:
        assert len(list(rows.FILES.unpack(Path("packed/rows-embedded.parquet")))) == 1
