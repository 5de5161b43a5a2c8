"""Errors of estimated test priors: the sets, the figures, the command end to end, the part of the report."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from harness import adapters
from harness.adapters.parts.contract import Adapter
from harness.evidence import files as evidence
from harness.studies.estimate import section as estimates
from harness.studies.estimate.rows import EstimateRow
from harness.studies.estimate.study import trial_of
from harness.studies.estimate.text import render
from methods.core.priors import target_prior
from shifts.images.catalog import Dataset, load
from shifts.labels.distance import js_divergence, match_distance, relative_error, total_variation
from shifts.labels.shift import Shift
from tests.harness.small import Result, call, one_line, random_pool, stamps

SHIFTS = ("dirichlet-1", "shuffled_lt-5-s3", "backward_lt-5")
ADAPTERS = ("mean", "sade", "em", "em_bcts", "rlls")


@pytest.fixture(scope="module")
def dataset(data: Path) -> Dataset:
    return load(str(data))


@pytest.fixture(scope="module")
def asked(data: Path, recipe: Path) -> list[str]:
    given = ["--dataset", str(data), "--recipe", str(recipe), "--device", "cpu", "--train-imbalance", "10"]
    return [*given, "--views", "1", "--methods", "sade", "softmax", "--trials", "3", "--set-size", "300"]


@pytest.fixture(scope="module")
def estimated(asked: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    results = tmp_path_factory.mktemp("estimated") / "results"
    given = [*asked, "--shift", *SHIFTS, "--adapters", *ADAPTERS, "--results", results]
    result = call(*given, module="harness.estimate")
    assert result.status == 0, result.err
    return results, result


def test_sets_are_of_their_size_and_prior(dataset: Dataset) -> None:
    counts = dataset.train.class_counts()
    for text, several in (("dirichlet-0.5-s4", True), ("shuffled_lt-3", True), ("backward_lt-3", False)):
        sets = [trial_of(dataset, Shift.parse(text), counts, 500, number) for number in range(3)]
        for made in sets:
            assert len(made.indices) == 500
            shares = np.bincount(dataset.test.labels[made.indices], minlength=dataset.classes) / 500
            assert made.prior.tolist() == shares.tolist()
            labels = dataset.test.labels[made.indices]
            assert (np.diff(labels) != 0).mean() > 0.1, "images do not come class by class"
        assert (len({tuple(made.prior) for made in sets}) > 1) == several
        assert len({tuple(made.indices) for made in sets}) == 3
    # a seeded shift begins at its own seed
    first = trial_of(dataset, Shift.parse("dirichlet-0.5-s5"), counts, 500, 0)
    assert first.prior.tolist() == trial_of(dataset, Shift.parse("dirichlet-0.5-s4"), counts, 500, 1).prior.tolist()


def test_figures_are_those_of_the_adapters(estimated: tuple[Path, Result], dataset: Dataset) -> None:
    results, result = estimated
    found = EstimateRow.files().load_all(results)
    assert len(found) == len(SHIFTS) * (len(ADAPTERS) + len(ADAPTERS) - 1)
    assert "sade does not apply to softmax" in result.out
    (file,) = (results / "evidence").glob("[!.]*-sade-*.safetensors")
    pool = evidence.load(file)
    answered = target_prior(pool.expert_priors)
    for row in (row for row in found if row.method == "sade"):
        assert (row.n, row.trials, len(row.tv), len(row.js)) == (300, 3, 3, 3)
        for number in range(3):
            made = trial_of(dataset, Shift.parse(row.shift), pool.train_counts, 300, number)
            adapter = adapters.get(row.adapter)
            assert isinstance(adapter, Adapter)
            shown = pool.evidence.take(made.indices)
            estimate = adapter.fit(shown, pool.train_counts, pool.expert_priors, number).prior
            estimate = answered if row.adapter == "mean" else estimate
            assert estimate is not None
            assert row.tv[number] == pytest.approx(total_variation(estimate, made.prior))
            assert row.js[number] == pytest.approx(js_divergence(estimate, made.prior))
            order = np.argsort(-pool.train_counts, kind="stable")
            assert row.rae is not None
            assert row.nmd is not None
            assert row.classes == len(answered)
            assert row.rae[number] == pytest.approx(relative_error(estimate, made.prior, 300))
            assert row.nmd[number] == pytest.approx(match_distance(estimate[order], made.prior[order]))
            assert row.tv_target[number] == pytest.approx(total_variation(answered, made.prior))
        assert (row.source_n > 0) == (row.label_access == "source") == (row.adapter in ("em_bcts", "rlls"))
    assert all(name in result.out for name in (*ADAPTERS, "-- sade", "-- softmax", "dirichlet-1-s0"))
    assert max(map(len, result.out.split("stored:")[0].splitlines())) <= 120


def test_the_other_errors_stand_below_and_rows_without_them_do_not(estimated: tuple[Path, Result]) -> None:
    results, result = estimated
    assert "dirichlet-1-s0 AE" in result.out
    found = EstimateRow.files().load_all(results)
    old = [asdict(row) | {"schema_version": 1} for row in found]
    for values in old:
        for name in ("rae", "nmd", "classes"):
            del values[name]
    read = [EstimateRow.files().kind.parse(values) for values in old]
    assert [row.tv for row in read] == [row.tv for row in found]
    assert {row.rae for row in read} == {None}
    assert "AE" not in render(read, [row.shift for row in read[:1]]).split("TV: total")[0]


def test_one_adapter_by_two_names_counts_once(asked: list[str], tmp_path: Path) -> None:
    twice = ["--adapters", "em", "em_bcts", "em_bcts:bias=true", "--shift", "uniform", "--results", str(tmp_path)]
    assert call(*asked, *twice, module="harness.estimate").status == 0
    assert [(row.method, row.adapter) for row in EstimateRow.files().load_all(tmp_path)] == [
        (method, adapter) for method in ("sade", "softmax") for adapter in ("em", "em_bcts")
    ]


def test_again_nothing(estimated: tuple[Path, Result], asked: list[str]) -> None:
    results, first = estimated
    before = stamps(results)
    given = [*asked, "--shift", *SHIFTS, "--adapters", *ADAPTERS, "--results", results]
    assert call(*given, module="harness.estimate").out == first.out
    plan = call(*asked, "--adapters", *ADAPTERS, "--results", results, "--dry-run", module="harness.estimate")
    assert plan.status == 0
    assert plan.out.count("1 of 3 shifts done") == 2, "dirichlet-1 is one of the default shifts"
    assert stamps(results) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--adapters", "oracle_prior"], "adapter oracle_prior is told the truth"),
        (["--adapters", "calibrated"], "adapter calibrated has no estimate of a whole set's prior; allowed are mean"),
        (["--adapters", "stream_em"], "has no estimate of a whole set's prior"),
        (["--adapters", "emm"], "unknown adapter 'emm'"),
        (["--methods", "softmax", "--adapters", "sade"], "sade does not apply to softmax: a single expert"),
        (["--shift", "dirichlet-1-s4294967290"], "its seed goes beyond 4294967295"),
        (["--trials", "0"], "'0' is not a whole number >= 1"),
    ],
)
def test_bad_input(given: list[str], said: str, data: Path, tmp_path: Path) -> None:
    result = call("--dataset", data, *given, "--results", tmp_path / "results", module="harness.estimate")
    assert result.status == 2
    assert said in one_line(result.err)
    assert not (tmp_path / "results").exists()


def test_somebody_elses_model(tmp_path: Path) -> None:
    evidence.save(tmp_path / "theirs.safetensors", random_pool(3))
    given = ["--evidence", tmp_path / "theirs.safetensors", "--trials", "8", "--set-size", "2000"]
    given += ["--shift", "dirichlet-1"]
    result = call(*given, "--results", tmp_path / "results", module="harness.estimate")
    assert result.status == 0, result.err
    errors = {row.adapter: float(np.mean(row.tv)) for row in EstimateRow.files().load_all(tmp_path / "results")}
    assert errors["em_bcts"] < errors["mean"] / 2
    assert errors["rlls"] < errors["mean"] / 2


def test_part_of_the_report(estimated: tuple[Path, Result], tmp_path: Path) -> None:
    results, _ = estimated
    made = estimates.section(results)
    assert made is not None
    (table,) = made.tables
    assert len(table.rows) == len(ADAPTERS) + len(ADAPTERS) - 1
    rows = {(row.method, row.adapter, row.shift): row for row in EstimateRow.files().load_all(results)}
    place = table.columns.index("B5 TV")
    for line in table.rows:
        row = rows[str(line[0]), str(line[1]), "backward_lt-5"]
        assert line[place : place + 3] == (
            pytest.approx(np.mean(row.tv)),
            pytest.approx(np.std(row.tv, ddof=1)),
            pytest.approx(np.mean(row.js)),
        )
    labels = [bool(line[-1]) for line in table.rows if line[0] == "sade"]
    assert labels == sorted(labels), "adapters without labelled images come first"
    assert "no estimate at all is" in made.lead
    assert [picture.name for picture in made.pictures] == ["estimates"]
    assert estimates.section(tmp_path) is None
