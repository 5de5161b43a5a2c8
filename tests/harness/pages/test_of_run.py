"""The page at the end of a run: where it is, when it is made, and when it is not."""

import os
import threading
from pathlib import Path

import pytest

from harness.evidence import files as evidence
from harness.pages import of_run
from harness.records import rows
from harness.studies.estimate.rows import EstimateRow
from harness.studies.route.rows import MeasuredRow, RouteRow
from harness.studies.sweep.rows import SweepRow
from harness.studies.why import answers, findings
from shifts.common.errors import WorkFailed
from tests.harness.fake import fake_row
from tests.harness.pages.made import stored
from tests.harness.small import call, random_pool


def test_a_run_ends_with_the_page_and_makes_it_once(tmp_path: Path) -> None:
    evidence.save(tmp_path / "mine.safetensors", random_pool(images=200, signal=6))
    asked = ["--evidence", tmp_path / "mine.safetensors", "--adapters", "mean", "em", "--redraws", "0"]
    asked += ["--shift", "uniform", "--results", tmp_path / "results"]
    page = tmp_path / "results" / "report" / "index.html"
    assert "page:" not in call(*asked).out
    assert not page.exists()
    first = call(*asked, page=True)
    assert first.status == 0, first.err
    assert first.out.splitlines()[-1] == f"page: {page}"
    assert "mine" in page.read_text(encoding="utf-8")
    made = page.stat().st_mtime_ns
    assert call(*asked, page=True).out == first.out
    assert page.stat().st_mtime_ns == made, "it was fresh"
    call(*asked, "--shift", "uniform", "backward_lt-2", page=True)
    assert "backward_lt" in page.read_text(encoding="utf-8")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return stored(tmp_path / "results", [fake_row()])


def test_many_processes_make_it_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(folder: Path, output: Path) -> None:
        made.append(folder)
        output.mkdir(exist_ok=True)
        (output / "index.html").write_text("page")

    monkeypatch.setattr(of_run, "_make", make)
    several = [threading.Thread(target=of_run.told, args=(results,)) for _ in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert made == [results]


@pytest.mark.parametrize("changed", ["row", "study", "page"])
def test_it_is_made_again_when_something_changed(results: Path, changed: str) -> None:
    told = of_run.told(results)
    page = results / "report" / "index.html"
    page.write_text("old")
    os.utime(page, (0, 0))
    assert of_run.told(results) == told
    assert page.read_text() == "old", "nothing changed"
    if changed == "row":
        row = fake_row(shift="backward_lt-50", row_id="another")
        rows.store(rows.path(results, "stem", row.adapter, row.shift, row.row_id), row)
    elif changed == "study":
        answers.folder(results).mkdir(parents=True)
        (answers.folder(results) / ".hidden").touch()
        assert of_run.told(results) == told
        assert page.read_text() == "old", "a hidden file is nobody's result"
        (results / "estimates").mkdir()
        (results / "estimates" / "of.txt").touch()
    else:
        page.unlink()
    assert of_run.told(results) == told
    assert page.read_text() != "old"


def test_what_fails_is_said_and_the_run_has_its_rows(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(folder: Path, output: Path) -> None:
        raise WorkFailed("a study cannot be read")

    monkeypatch.setattr(of_run, "_make", make)
    assert of_run.told(results) == "page: not made: a study cannot be read"
    monkeypatch.setattr(of_run, "MOST", 0)
    assert of_run.told(results) == f"page: not made for 1 rows; python -m harness.report --results {results} makes it"


def test_every_study_is_known(tmp_path: Path) -> None:
    folders = [kind.folder for kind in (EstimateRow, RouteRow, MeasuredRow, SweepRow)]
    folders += [str(answers.folder(tmp_path).relative_to(tmp_path)), findings.FILES.folder]
    assert {Path(folder).parts[0] for folder in folders} == set(of_run.STUDIES)


def test_one_shift_needs_no_figures(results: Path) -> None:
    of_run.told(results)
    assert not (results / "report" / "figures").exists()
