"""`python -m harness.why` end to end on a small dataset, and its section of the report."""

import io
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from harness.show.ink import PAPER
from harness.show.section import Section, Table
from harness.show.text import as_text
from harness.studies.why import answers, findings
from harness.studies.why.section import section
from methods.core.recipes import get as get_recipe
from shifts.common.files import digest
from tests.harness.fake import fake_row
from tests.harness.small import ROOT, call, environment, one_line, stamps
from tests.harness.studies.why.test_findings import random_answers

MODULE = "harness.why"
REFERENCE = ROOT / "results" / "reference"


@pytest.fixture(scope="module")
def wanted(data: Path, recipe: Path) -> list[object]:
    """Two methods over two training draws, without --results."""
    draws = ["--train-subset-seed", "0", "1", "--seeds", "0"]
    return ["--dataset", data, "--recipe", recipe, "--device", "cpu", "--train-imbalance", "10", *draws]


@pytest.fixture(scope="module")
def asked_why(wanted: list[object], small_results: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Results folder and output of the command over the small run's results."""
    results = Path(shutil.copytree(small_results, tmp_path_factory.mktemp("why") / "results"))
    done = call(*wanted, "--methods", "softmax", "sade", "--results", results, module=MODULE)
    assert done.status == 0, done.err
    return results, done.out


@pytest.fixture
def answered(asked_why: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the answered results, to be tampered with."""
    return Path(shutil.copytree(asked_why[0], tmp_path / "answered"))


def test_one_answer_a_model_and_one_finding_a_measure(asked_why: tuple[Path, str]) -> None:
    results, _ = asked_why
    made = list(answers.load_all(results))
    assert {(one.about["method"], one.about["train_subset_seed"]) for one in made} == {
        (method, draw) for method in ("softmax", "sade") for draw in (0, 1)
    }
    assert all(one.predicted.shape == (1 if one.experts == 1 else 5, 240) for one in made)
    found = findings.load(results)
    assert findings.of_answers(made) == found
    errors = [one for one in found if one.measure == "error" and one.group == "all" and one.predictor == "mean"]
    for one in errors:
        mine = [model for model in made if model.about["method"] == one.method]
        assert one.value == pytest.approx(np.mean([(model.predicted[0] != model.labels).mean() for model in mine]))
        assert (one.models, one.train_subset_seeds, one.n) == (2, [0, 1], 240)


def test_answers_are_the_predictions_of_the_rows(asked_why: tuple[Path, str]) -> None:
    """The mean of experts of the same checkpoint on the same images: error here is 1 - accuracy of the whole pool."""
    from harness.records import rows

    results, _ = asked_why
    accuracy = {row.checkpoint_sha256: row.expected_top1 for row in rows.load_all(results) if row.adapter == "mean"}
    shared = [one for one in answers.load_all(results) if one.about["checkpoint_sha256"] in accuracy]
    assert len(shared) == 2
    for one in shared:
        by_class = [(one.predicted[0] == one.labels)[one.labels == c].mean() for c in range(4)]
        row = next(row for row in rows.load_all(results) if row.checkpoint_sha256 == one.about["checkpoint_sha256"])
        prior = np.array(row.per_class_total) / sum(row.per_class_total)
        assert float(prior @ by_class) == pytest.approx(accuracy[one.about["checkpoint_sha256"]])


def test_the_output_fits_a_terminal_and_says_what_is_known(asked_why: tuple[Path, str]) -> None:
    _, out = asked_why
    assert max(map(len, out.splitlines()[:-1])) <= 100
    assert "Over 2 models a method" in out
    for title in ("Bias:", "Variance:", "Hardest negative:", "Error taken apart", "More experts", "learned weights"):
        assert title in out


def test_a_second_run_does_nothing(asked_why: tuple[Path, str], wanted: list[object]) -> None:
    results, out = asked_why
    before = stamps(results / "why" / "answers") | stamps(results / "checkpoints")
    again = call(*wanted, "--methods", "softmax", "sade", "--results", results, module=MODULE)
    assert (again.status, again.out) == (0, out)
    assert stamps(results / "why" / "answers") | stamps(results / "checkpoints") == before


def test_the_plan_names_what_is_missing_and_writes_nothing(wanted: list[object], answered: Path) -> None:
    before = stamps(answered)
    plan = call(*wanted, "--methods", "softmax", "ride", "--results", answered, "--dry-run", module=MODULE)
    assert plan.status == 0
    assert "softmax: 2 of 2 models answered\n" in plan.out
    assert re.search(r"ride: 0 of 2 models answered; 2 to train, [\d.]+ TFLOP", plan.out)
    assert stamps(answered) == before


def test_a_lost_or_stale_answer_is_asked_again_without_training(
    wanted: list[object], answered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.jobs import job

    first, second, *_ = sorted(answers.folder(answered).glob("[!.]*"))
    before = {path: path.read_bytes() for path in (first, second)}
    first.unlink()
    with monkeypatch.context() as older:
        older.setattr(answers, "ANSWERS_VERSION", 0)
        answers.save(second, answers.load(second))
    assert second.read_bytes() != before[second]
    monkeypatch.setattr(job, "train", lambda *_, **__: pytest.fail("nothing is to be trained"))
    done = call(*wanted, "--methods", "softmax", "sade", "--results", answered, module=MODULE)
    assert done.status == 0, done.err
    assert {path: path.read_bytes() for path in (first, second)} == before


def test_models_whose_batches_were_taken_in_another_way_are_not_mixed(wanted: list[object], answered: Path) -> None:
    """As rows keep them apart; also where stored answers call them alike, as those of older programs do."""
    pieces = ["--methods", "softmax", "--accumulate", "2", "--results", answered]
    assert call(*wanted, *pieces, module=MODULE).status == 0
    made = [one for one in answers.load_all(answered) if one.about["method"] == "softmax"]
    settings = get_recipe(str(wanted[3]), str(wanted[1])).settings()
    hashes = {digest(settings): 2, digest(settings | {"accumulate": 2}): 2}
    assert Counter(one.about["recipe_sha256"] for one in made) == hashes
    found = [
        one
        for one in findings.load(answered)
        if (one.method, one.predictor, one.group, one.measure) == ("softmax", "mean", "all", "error")
    ]
    assert Counter(one.recipe_sha256 for one in found) == dict.fromkeys(hashes, 1)
    assert {one.models for one in found} == {2}
    plan = call(*wanted, *pieces, "--dry-run", module=MODULE)
    assert "softmax: 2 of 2 models answered\n" in plan.out
    for path in answers.folder(answered).glob("[!.]*"):
        one = answers.load(path)
        if one.about["recipe_sha256"] == digest(settings | {"accumulate": 2}):
            answers.save(path, replace(one, about=one.about | {"recipe_sha256": digest(settings)}))
    plan = call(*wanted, *pieces, "--dry-run", module=MODULE)
    assert "softmax: 0 of 2 models answered\n" in plan.out
    assert call(*wanted, *pieces, module=MODULE).status == 0
    again = [one.about["recipe_sha256"] for one in answers.load_all(answered) if one.about["method"] == "softmax"]
    assert Counter(again) == hashes


def test_answers_outlive_their_checkpoints(
    wanted: list[object], asked_why: tuple[Path, str], answered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.jobs import job

    shutil.rmtree(answered / "checkpoints")
    monkeypatch.setattr(job, "train", lambda *_, **__: pytest.fail("nothing is to be trained"))
    done = call(*wanted, "--methods", "softmax", "sade", "--results", answered, module=MODULE)
    assert done.out.replace(str(answered), str(asked_why[0])) == asked_why[1]


def test_stored_evidence_spares_the_forward_pass(
    wanted: list[object], answered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.studies.why import replicates

    def refuse(*_: object) -> None:
        raise AssertionError("a forward pass")

    before = {path.name: path.read_bytes() for path in answers.folder(answered).glob("[!.]*")}
    again = [*wanted, "--methods", "softmax", "sade", "--train-subset-seed", "0", "--results", answered]
    shutil.rmtree(answers.folder(answered))
    monkeypatch.setattr(replicates.passes, "forward", refuse)
    assert call(*again, module=MODULE).status == 0
    shutil.rmtree(answered / "evidence")
    monkeypatch.undo()
    from_evidence = {path.name: path.read_bytes() for path in answers.folder(answered).glob("[!.]*")}
    assert len(from_evidence) == 2
    shutil.rmtree(answers.folder(answered))
    assert call(*again, module=MODULE).status == 0
    from_network = {path.name: path.read_bytes() for path in answers.folder(answered).glob("[!.]*")}
    assert from_evidence == from_network == {name: before[name] for name in from_network}


def test_one_broken_model_is_named_and_the_others_are_kept(wanted: list[object], answered: Path) -> None:
    first, *others = sorted((answered / "checkpoints").glob("*softmax*.safetensors"))
    content = first.read_bytes()
    first.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    shutil.rmtree(answered / "evidence")
    shutil.rmtree(answers.folder(answered))
    done = call(*wanted, "--methods", "softmax", "--results", answered, module=MODULE)
    assert done.status == 1
    assert first.name in one_line(done.err)
    assert len(list(answers.load_all(answered))) == len(others) == 1
    assert {one.models for one in findings.load(answered)} == {1}


def test_one_draw_has_no_interval_and_says_so(wanted: list[object], answered: Path) -> None:
    shutil.rmtree(answered / "why")
    one = ["--methods", "sade", "--train-subset-seed", "0", "--results", answered]
    done = call(*wanted, *one, module=MODULE)
    assert done.status == 0
    assert "note: training draws: 1" in done.out
    assert all(finding.low is None for finding in findings.load(answered))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--stored", "--dry-run"], "give one of them"),
        (["--methods", "rode"], "ride"),
        (["--train-subset-seed", "-1"], "whole number"),
        (["--seeds"], "--seeds"),
        (["--methods", "softmax", "--pretrained", "no-zoo"], "no weights of embedded softmax quick seed 0"),
    ],
)
def test_bad_input_is_one_line(given: list[str], says: str, tmp_path: Path) -> None:
    done = call(*given, "--results", tmp_path / "none", module=MODULE)
    assert done.status == 2
    assert says in one_line(done.err)
    assert not (tmp_path / "none").exists()


def test_nothing_stored_is_said(tmp_path: Path) -> None:
    done = call("--stored", "--results", tmp_path, module=MODULE)
    assert (done.status, done.out.startswith("nothing is stored")) == (0, True)
    assert section(tmp_path) is None


def test_the_reference_fits_a_terminal() -> None:
    out = call("--stored", "--results", REFERENCE, module=MODULE).out
    assert max(map(len, out.splitlines())) <= 100
    assert out.count("premise") > 6


def test_a_wide_table_gets_narrower() -> None:
    def widest(columns: int) -> list[str]:
        table = Table("wide", tuple("abcdefghijklmnop"[:columns]), ((0.12345,) * columns, (None,) * columns))
        return as_text(table).splitlines()

    assert widest(14)[2] == "  ".join(["0.123"] * 14)
    assert widest(16)[2] == " ".join(["0.123"] * 16)
    assert widest(16)[3] == " ".join(["    -"] * 16)


def test_long_names_are_cut_in_the_middle_where_a_table_is_too_wide() -> None:
    names = [f"prl:variant=preference_weighted,seed={number}" for number in range(2)]
    table = Table("wide", ("method", *"abcdefghijkl"), tuple((name, *(0.12345,) * 12) for name in names))
    lines = as_text(table).splitlines()[2:]
    assert max(map(len, lines)) <= 100
    assert len({line.split()[0] for line in lines}) == 2
    assert all(line.startswith("prl:") for line in lines)
    short = Table("narrow", ("method", "a"), ((names[0], 0.1),))
    assert names[0] in as_text(short)


@pytest.fixture
def rows_alone(tmp_path: Path) -> Path:
    """The committed rows without what `harness.why` found over many models."""
    shutil.copy(REFERENCE / "rows-embedded.parquet", tmp_path)
    return tmp_path


def test_help_and_stored_rows_need_no_torch(rows_alone: Path) -> None:
    code = (
        "import sys; from harness.why import main; "
        f"status = main(['--stored', '--results', {str(rows_alone)!r}]); "
        "assert not {'torch', 'matplotlib'} & set(sys.modules), 'heavy imports'; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert "no findings are stored" in done.stdout


def check(made: Section) -> None:
    """Tables are rectangular and of plain cells, pictures can be drawn on white, names are unique."""
    for table in made.tables:
        assert table.rows
        for row in table.rows:
            assert len(row) == len(table.columns)
            assert all(cell is None or type(cell) in (str, int, float, bool) for cell in row)
    assert len({picture.name for picture in made.pictures}) == len(made.pictures)
    for picture in made.pictures:
        file = io.BytesIO()
        picture.figure.savefig(file, format="png", dpi=20)
        assert to_hex(picture.figure.get_facecolor()) == PAPER
        assert picture.caption
        assert picture.alternative
    assert "nan" not in made.lead.lower()


def test_section_of_rows_alone(rows_alone: Path) -> None:
    made = section(rows_alone)
    assert made is not None
    check(made)
    assert {picture.name for picture in made.pictures} == {"why-stability", "why-bound"}
    assert "logit_adjusted makes the same networks as balanced_softmax" in made.lead
    assert "Over" not in made.lead


def test_section_of_rows_and_findings(asked_why: tuple[Path, str]) -> None:
    made = section(asked_why[0])
    assert made is not None
    check(made)
    assert len(made.pictures) == 4
    assert "Within the same networks" in made.lead


def test_section_of_findings_alone_compares_ride_with_its_single_network(tmp_path: Path) -> None:
    """Of constructed answers: what the sentences say is what the findings hold."""
    stored = [random_answers(draw, method="ride") for draw in range(3)]
    stored += [random_answers(draw, experts=1, method="ldam_drw") for draw in range(3)]
    found = findings.of_answers(stored)
    findings.store(findings.path(tmp_path), found)
    made = section(tmp_path)
    assert made is not None
    check(made)
    values = {(one.method, one.measure): one.value for one in found if one.group == "all" and one.predictor == "mean"}
    assert f"variance {values['ride', 'variance']:.3f} against {values['ldam_drw', 'variance']:.3f}" in made.lead
    assert f"bias {values['ride', 'bias']:.3f} against {values['ldam_drw', 'bias']:.3f}" in made.lead
    assert {picture.name for picture in made.pictures} == {"why-bias-variance", "why-more-experts"}


def test_shifts_without_an_order_have_lines_of_their_own(tmp_path: Path) -> None:
    from harness.records import rows

    stable = {"all": [0.9, 0.8, 0.7], "many": [0.9, 0.8, 0.7], "medium": None, "few": None}
    for shift in ("uniform", "shuffled_lt-50-s3", "dirichlet-0.1-s7"):
        weights = [0.5, 0.3, 0.2]
        row = fake_row(adapter="sade", shift=shift, weights=weights, view_stability=stable, delta_to_mean=0.25)
        rows.store(rows.path(tmp_path, "sade", "sade", shift, row.row_id), row)
    made = section(tmp_path)
    assert made is not None
    check(made)
    published, further = (table for table in made.tables if "learned weights" in table.caption)
    assert published.columns == ("method", "what", "U")
    assert further.rows == (
        ("sade", "shuffled_lt-50-s3", 0.5, 0.3, 0.2, 0.25, None),
        ("sade", "dirichlet-0.1-s7", 0.5, 0.3, 0.2, 0.25, None),
    )
    assert max(map(len, call("--stored", "--results", tmp_path, module=MODULE).out.splitlines()[:-1])) <= 100


def test_settings_have_tables_and_pictures_of_their_own(tmp_path: Path) -> None:
    from harness.records import rows

    for recipe in ("quick", "published"):
        for method, top1 in (("softmax", 0.4), ("ride", 0.5), ("sade", 0.6)):
            for shift in ("uniform", "backward_lt-50"):
                row = fake_row(method=method, recipe=recipe, top1=top1, shift=shift, checkpoint_sha256=method)
                rows.store(rows.path(tmp_path, method + recipe, "mean", row.shift, row.row_id), row)
    made = section(tmp_path)
    assert made is not None
    check(made)
    assert [picture.name for picture in made.pictures] == ["why-bound", "why-bound-2"]
    assert made.lead.count("[embedded, train imbalance 100, recipe ") == 2
