"""The command `harness.sweep` end to end: what is stored, resuming, finer lattices, strangers, what is refused."""

import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.evidence import files as evidence
from harness.records import rows
from harness.studies.sweep.rows import CHOICES, LATTICE, SweepRow, sweeps_of
from shifts.common.errors import WorkFailed
from shifts.common.files import atomic
from tests.harness.adapters.test_preference import pool_of, random_heads
from tests.harness.small import Result, call, command, environment, one_line, random_pool, stamps, visible

METHODS = ("prl", "sade", "balanced_softmax")
KINDS = {"prl": "hypernetwork", "sade": "weights", "balanced_softmax": "adjustment"}
SHIFTS = ["--shift", "uniform", "backward_lt", "--imbalance", "5"]


@pytest.fixture(scope="module")
def asked(data: Path, recipe: Path) -> list[str]:
    given = ["--dataset", str(data), "--recipe", str(recipe), "--device", "cpu", "--train-imbalance", "10"]
    return [*given, "--views", "1", "--methods", *METHODS]


@pytest.fixture(scope="module")
def swept(asked: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    results = tmp_path_factory.mktemp("swept") / "results"
    result = call(*asked, *SHIFTS, "--results", results, module="harness.sweep")
    assert result.status == 0, result.err
    return results, result


def test_rows_of_a_sweep(swept: tuple[Path, Result]) -> None:
    results, result = swept
    assert result.err == ""
    found = SweepRow.files().load_all(results)
    assert len(list((results / "sweeps").glob("[!.]*.parquet"))) == 3, "one file for each checkpoint"
    for method in METHODS:
        for shift in ("uniform", "backward_lt-5"):
            own = [row for row in found if (row.method, row.shift) == (method, shift)]
            assert Counter(row.selection for row in own) == {LATTICE: 67} | dict.fromkeys(CHOICES, 1)
            assert {row.kind for row in own} == {KINDS[method]}
            assert {(row.steps, row.views, row.n) for row in own} == {(10, 1, 240 if shift == "uniform" else own[0].n)}
            assert len({row.study_id for row in own}) == 1
            by_point = {row.point: row for row in own if row.selection == LATTICE}
            for row in own:
                assert sum(row.preference) == pytest.approx(1)
                figures = ("preference", "top1", "many", "medium", "few", "macro", "agreement", "tv_estimate")
                for name in figures:
                    assert getattr(row, name) == getattr(by_point[row.point], name)
            best = next(row for row in own if row.selection == "best")
            assert best.label_access == "test"
            assert best.top1 == max(row.top1 for row in own)
            assert {row.label_access for row in own if row.selection != "best"} == {"none"}
    assert len({row.study_id for row in found}) == 6
    assert "few" not in result.err
    for word in (*METHODS, *KINDS.values(), "control", "volume", "regret", *CHOICES, str(results / "sweeps")):
        assert word in result.out
    assert max(map(len, result.out.split("stored:")[0].splitlines())) <= 120


def test_centre_and_choices_agree_with_the_main_command(swept: tuple[Path, Result], asked: list[str]) -> None:
    results, _ = swept
    ran = call(
        *asked, *SHIFTS, "--redraws", "0", "--adapters", "mean", "preference", "preference_em", "--results", results
    )
    assert ran.status == 0, ran.err
    main = {(row.method, row.shift, row.adapter): row for row in rows.load_all(results)}
    assert len(main) == 2 * (3 + 2)
    for sweep in sweeps_of(SweepRow.files().load_all(results)):
        method, shift = sweep.first.method, sweep.first.shift
        pairs = [("mean", "centre")] if method != "balanced_softmax" else []
        pairs += [("preference", "stability"), ("preference_em", "em")] if method == "prl" else []
        for adapter, choice in pairs:
            row, chosen = main[method, shift, adapter], sweep.chosen[choice]
            assert row.indices_sha256 == chosen.indices_sha256
            assert row.checkpoint_sha256 == chosen.checkpoint_sha256
            assert row.preference is None or row.preference == chosen.preference
            for name in ("top1", "many", "medium", "few", "macro"):
                assert getattr(row, name) == pytest.approx(getattr(chosen, name), abs=1e-12), (method, adapter, name)


def test_again_nothing_and_more_shifts_are_added(swept: tuple[Path, Result], asked: list[str]) -> None:
    results, first = swept
    before = stamps(results)
    again = call(*asked, *SHIFTS, "--results", results, module="harness.sweep")
    assert (again.status, again.out) == (0, first.out)
    assert stamps(results) == before
    plan = call(*asked, "--shift", "uniform", "forward_lt-3", "--results", results, "--dry-run", module="harness.sweep")
    assert plan.out.count("1 of 2 shifts done") == 3
    assert stamps(results) == before, "a dry run writes nothing"
    old = {row.study_id for row in SweepRow.files().load_all(results)}
    more = call(*asked, "--shift", "forward_lt-3", "--results", results, module="harness.sweep")
    assert more.status == 0, more.err
    assert "backward" not in more.out.split("control:")[0], "the table shows what was asked for"
    new = {row.study_id for row in SweepRow.files().load_all(results)}
    assert old < new
    assert len(new - old) == 3
    changed = {path for path, stamp in stamps(results).items() if before.get(path) != stamp}
    assert {path.parent.name for path in changed} == {"sweeps"}


def test_a_finer_lattice_asks_the_network_and_is_kept_apart(swept: tuple[Path, Result], asked: list[str]) -> None:
    results, _ = swept
    given = [*asked[:-3], "prl", "--shift", "uniform", "--results", results]
    fine = call(*given, "--step", "0.05", module="harness.sweep")
    assert fine.status == 0, fine.err
    assert "note: a hypernetwork shows nothing without its controls; missing here: sade, balpoe, balanced" in fine.out
    assert "232 preferences" in fine.out
    own = [row for row in SweepRow.files().load_all(results) if (row.method, row.shift) == ("prl", "uniform")]
    assert {row.steps for row in own} == {10, 20}
    coarse, finer = (
        {tuple(np.round(row.preference, 9)): row for row in own if row.steps == steps and row.selection == LATTICE}
        for steps in (10, 20)
    )
    assert set(coarse) < set(finer)
    for point, row in coarse.items():
        for name in ("top1", "macro", "tv_test"):
            assert getattr(finer[point], name) == pytest.approx(getattr(row, name), abs=1e-9)
        assert finer[point].agreement == pytest.approx(row.agreement, abs=1e-5)
    (kept,) = sweeps_of(own)
    assert kept.first.steps == 20, "the finest of one checkpoint and shift"


def test_stale_and_broken_files(swept: tuple[Path, Result], asked: list[str], tmp_path: Path) -> None:
    results = Path(shutil.copytree(swept[0], tmp_path / "copied"))
    (file,) = (results / "sweeps").glob("[!.]*-sade-*.parquet")
    whole = SweepRow.files().read(file)
    given = [*asked[:-3], "sade", "--shift", "uniform", "--results", results]
    # of other evidence under the same checkpoint: computed again, and the old rows go
    SweepRow.files().store(file, [replace(row, evidence_version=0, study_id="0" * 64) for row in whole])
    assert call(*given, module="harness.sweep").status == 0
    assert SweepRow.files().read(file) == [row for row in whole if row.shift == "uniform" and row.steps == 10]
    # of another checkpoint: computed again, and the old rows go
    SweepRow.files().store(file, [replace(row, checkpoint_sha256="f" * 64) for row in whole])
    assert call(*given, module="harness.sweep").status == 0
    assert SweepRow.files().read(file) == [row for row in whole if row.shift == "uniform" and row.steps == 10]
    # of a newer schema, not Parquet at all, other columns: refused by name, nothing overwritten
    SweepRow.files().store(file, [replace(row, schema_version=99) for row in whole])
    with pytest.raises(WorkFailed, match="newer than this program"):
        SweepRow.files().read(file)
    SweepRow.files().store(file, whole)
    with atomic(file) as temporary:
        pq.write_table(pq.read_table(file).drop_columns(["top1"]), temporary)
    refused = call(*given, module="harness.sweep")
    assert refused.status == 1
    assert "top1" in one_line(refused.err)
    file.write_bytes(b"PAR1 torn")
    refused = call(*given, module="harness.sweep")
    assert refused.status == 1
    assert file.name in one_line(refused.err)
    assert file.read_bytes() == b"PAR1 torn"


@pytest.mark.parametrize("module", ["harness.run", "harness.sweep", "harness.route", "harness.estimate", "harness.why"])
def test_graphs_are_refused_before_anything_is_read_or_trained(module: str, tmp_path: Path) -> None:
    result = call("--device", "cpu", "--cuda-graphs", "--results", tmp_path / "results", module=module)
    assert result.status == 2
    assert "--cuda-graphs: needs a CUDA device" in one_line(result.err)


@pytest.mark.parametrize("kind", ["hypernetwork", "weights", "adjustment"])
def test_somebody_elses_model(kind: str, tmp_path: Path) -> None:
    pool = pool_of(random_heads()) if kind == "hypernetwork" else random_pool(experts=3 if kind == "weights" else 1)
    file = tmp_path / "theirs.safetensors"
    evidence.save(file, pool)
    given = ["--evidence", file, "--shift", "uniform", "--step", "0.5", "--results", tmp_path / "results"]
    result = call(*given, module="harness.sweep")
    assert result.status == 0, result.err
    (sweep,) = sweeps_of(SweepRow.files().load_all(tmp_path / "results"))
    assert sweep.first.kind == kind
    assert len(sweep.lattice) == 7
    assert sweep.first.steps == (None if kind == "hypernetwork" else 2)
    assert sweep.volume > 0
    assert sweep.regret("best") == 0
    assert all((regret := sweep.regret(choice)) is not None and regret >= 0 for choice in CHOICES)
    low, high = sweep.reach("many") or (1, 0)
    assert low <= sweep.chosen["centre"].many <= high  # type: ignore[operator]


def test_without_views_there_is_no_choice_by_stability(asked: list[str], swept: tuple[Path, Result]) -> None:
    results, _ = swept
    given = [*asked[:-3], "sade", "--views", "0", "--shift", "uniform", "--results", results]
    result = call(*given, module="harness.sweep")
    assert result.status == 0, result.err
    (none,) = {row.study_id for row in SweepRow.files().load_all(results) if row.views is None}
    own = [row for row in SweepRow.files().load_all(results) if row.study_id == none]
    assert "stability" not in {row.selection for row in own}
    assert {row.agreement for row in own} == {None}
    assert "\nstability" not in result.out


def test_bad_input_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for given, said in [
        (["--step", "0.3"], "0.3"),
        (["--step", "0"], "1/k"),
        (["--step", "nan"], "1/k"),
        (["--methods", "prll"], "prl, "),
        (["--shift", "backwards_lt"], "backward_lt"),
        (["--evidence", "theirs.safetensors", "--methods", "prl"], "--methods"),
        (["--evidence", "theirs.safetensors"], "does not exist"),
    ]:
        refused = call(*given, "--results", results, module="harness.sweep")
        assert refused.status == 2, given
        assert said in one_line(refused.err)
        assert visible(results) == []


def test_help_comes_without_torch(tmp_path: Path) -> None:
    shown = command("--help", module="harness.sweep")
    assert shown.status == 0
    assert "--step" in shown.out
    assert "examples:" in shown.out


@pytest.mark.exhaustive
def test_two_runs_at_once_share_a_file(tmp_path: Path) -> None:
    file, results = tmp_path / "theirs.safetensors", tmp_path / "results"
    evidence.save(file, random_pool())
    given = [sys.executable, "-m", "harness.sweep", "--evidence", str(file), "--results", str(results), "--shift"]
    shifts = (["uniform", "forward_lt-5"], ["backward_lt-5", "uniform"])
    running = [
        subprocess.Popen([*given, *asked], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for asked in shifts
    ]
    for process in running:
        _, error = process.communicate(timeout=300)
        assert (process.returncode, error) == (0, b"")
    found = SweepRow.files().load_all(results)
    assert {row.shift for row in found} == {"uniform", "forward_lt-5", "backward_lt-5"}
    assert Counter((row.shift, row.point, row.selection) for row in found).most_common(1)[0][1] == 1
