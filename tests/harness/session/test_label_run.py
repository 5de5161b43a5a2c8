"""The main command on label sets, end to end: the embedded mosaics once, a small folder for what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from harness.adapters.mean import Mean
from harness.board import build as leaderboard
from harness.board.schema import validate
from harness.evidence import label_files
from harness.measures.label_metrics import METRICS_VERSION, RESAMPLES
from harness.passes import labels as evidence
from harness.passes.pools import Pools
from harness.records import label_rows as rows
from harness.records import rows as single_rows
from harness.run import parser
from harness.session.run import RunRequest
from methods import papers
from methods.core.recipes import get as get_recipe
from methods.jobs.job import TrainingJob
from methods.networks.folding import fold_batchnorm
from shifts.common.files import digest
from shifts.common.requests import request_of
from shifts.images.catalog import load
from shifts.labels.shift import Shift
from shifts.sets.resolve import resolve
from shifts.sets.training import training_set
from tests.harness.small import (
    RECIPE,
    Result,
    call,
    images,
    leaderboard_bytes,
    one_line,
    stamps,
    visible,
    write_dataset,
)

CPU = torch.device("cpu")
SHIFTS = ["forward_lt", "uniform", "backward_lt"]
ASKED = ["--dataset", "embedded_mosaics", "--device", "cpu", "--shift", *SHIFTS, "--methods", "bce", "ltml"]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of one epoch."""
    path = tmp_path_factory.mktemp("recipe") / "short.toml"
    path.write_text(RECIPE.replace("epochs = 2", "epochs = 1").replace("[1, 2]", "[1, 1]"))
    return path


@pytest.fixture(scope="module")
def mosaics(short: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The command on the embedded mosaics: results folder and what the command printed."""
    results = tmp_path_factory.mktemp("mosaics") / "results"
    result = call(*ASKED, "--recipe", short, "--results", results)
    assert result.status == 0, result.err
    return results, result


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels, 60 train and 60 test images of 8 x 8 pixels, lists of numbers in Hub layout."""
    sets = [[0], [0, 1], [1, 2], [0, 2]] * 15
    columns = {"image": images(np.arange(60) % 4), "label": None, "labels": sets}
    return write_dataset(tmp_path_factory.mktemp("labels") / "small", train=dict(columns), test=dict(columns))


def test_rows_and_leaderboard(mosaics: tuple[Path, Result]) -> None:
    results, _ = mosaics
    found = rows.load_all(results)
    shifts = ["forward_lt-50", "uniform", "backward_lt-50"]
    assert {(row.method, row.shift) for row in found} == {
        (method, shift) for method in ("bce", "ltml") for shift in shifts
    }
    assert single_rows.load_all(results) == []
    board = leaderboard.read(results)
    validate(board)
    assert board["entries"] == board["means"] == []
    assert len(board["multi_label"]["entries"]) == len(found) == 6
    for row in found:
        assert row.task == "multi_label"
        assert row.branches == (2 if row.method == "ltml" else 1)
        assert (row.adapter, row.initial_weights) == ("mean", "random")
        assert row.map_interval[0] < row.map_interval[1]
        groups = np.array(row.per_class_ap, dtype=float)
        assert row.map == pytest.approx(groups.mean())
        assert (row.head, row.medium, row.tail) == pytest.approx(
            (groups[:3].mean(), groups[3:6].mean(), groups[6:].mean())
        )
        assert row.tv_wanted is not None
        assert row.tv_wanted <= 0.02
    assert {row.n for row in found} == {472, 2529, 464}


def test_numbers_follow_from_the_evidence(mosaics: tuple[Path, Result]) -> None:
    """Scores are the mean of the branches' logits, per label as scikit-learn has it."""
    results, _ = mosaics
    dataset = load("embedded_mosaics")
    (file,) = (results / "evidence").glob("*ltml*-labels.safetensors")
    pool = label_files.load(file)
    assert pool.evidence.logits.shape == (2529, 2, 10)
    np.testing.assert_array_equal(pool.labels, dataset.test.labels)
    row = next(row for row in rows.load_all(results) if (row.method, row.shift) == ("ltml", "backward_lt-50"))
    indices, _ = resolve(dataset, Shift("backward_lt"), pool.train_counts)
    scores = pool.evidence.logits.mean(axis=1)[indices]
    wanted = [average_precision_score(dataset.test.labels[indices, c], scores[:, c]) for c in range(10)]
    assert row.per_class_ap == pytest.approx(wanted, abs=1e-4)
    labels = dataset.test.labels[indices]
    assert row.per_class_positives == labels.sum(axis=0).tolist()
    assert row.f1_micro == pytest.approx(f1_score(labels, scores > 0, average="micro"))
    assert row.f1_macro == pytest.approx(f1_score(labels, scores > 0, average="macro", zero_division=0))


def test_what_is_printed(mosaics: tuple[Path, Result]) -> None:
    results, result = mosaics
    assert result.err.startswith("note: equal images within the train split: 24 groups")
    assert result.err.count("\n") == 1
    assert result.out.count("note: label sets take the adapter mean only") == 1
    assert str(results / "leaderboard.json") in result.out
    for shift in SHIFTS:
        assert f"test {shift}" in result.out
    assert ["method", "F50", "U", "B50", "mean"] in [line.split() for line in result.out.splitlines()]
    assert max(map(len, result.out.split("leaderboard:")[0].splitlines())) <= 120


def test_again_does_nothing_and_goes_on_where_rows_are_missing(mosaics: tuple[Path, Result], short: Path) -> None:
    results, first = mosaics
    before, board = stamps(results), leaderboard_bytes(results)
    again = call(*ASKED, "--recipe", short, "--results", results)
    assert (again.status, again.out) == (0, first.out)
    assert stamps(results) == before
    assert leaderboard_bytes(results) == board
    gone = next(path for path in visible(results / "rows") if "uniform" in path.name)
    gone.unlink()
    (results / "leaderboard.json").unlink()
    plan = call(*ASKED, "--recipe", short, "--results", results, "--dry-run").out
    assert "2 of 3 rows done" in plan
    assert "3 of 3 rows done" in plan
    assert call(*ASKED, "--recipe", short, "--results", results).status == 0
    assert {path for path, stamp in stamps(results).items() if before[path] != stamp} == {gone}
    assert leaderboard_bytes(results) == board


def test_broken_evidence_is_made_again(mosaics: tuple[Path, Result], short: Path) -> None:
    results, _ = mosaics
    board = leaderboard_bytes(results)
    file = next((results / "evidence").glob("*bce*"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    for path in visible(results / "rows"):
        if "bce" in str(path):
            path.unlink()
    assert call(*ASKED, "--recipe", short, "--results", results).status == 0
    assert leaderboard_bytes(results) == board
    assert len(file.read_bytes()) >= len(whole) - 100


def test_a_folder_of_ones_own_and_the_whole_pool(small: Path, recipe: Path, tmp_path: Path) -> None:
    asked = ["--dataset", small, "--recipe", recipe, "--device", "cpu", "--results", tmp_path, "--methods", "bce"]
    result = call(*asked, "--shift", "natural", "--adapters", "mean", "--seeds", "0", "1")
    assert result.status == 0, result.err
    assert "note:" not in result.out
    assert "2 train seeds" in result.out
    (entry,) = leaderboard.read(tmp_path)["multi_label"]["entries"]
    assert (entry["n"], entry["tv_wanted"], entry["train_labels_per_image"]) == (60, None, 1.75)
    assert entry["head"] is None, "no label has 100 images"
    assert entry["medium"]["n"] == 2


def test_half_precision_is_another_row_from_other_evidence(small: Path, recipe: Path, tmp_path: Path) -> None:
    """Forward passes under autocast, as with single labels; what float32 gave stays as it was."""
    asked = ["--dataset", small, "--recipe", recipe, "--device", "cpu", "--results", tmp_path, "--methods", "ltml"]
    asked += ["--shift", "natural"]
    assert call(*asked).status == 0
    before = stamps(tmp_path)
    half = call(*asked, "--evidence-precision", "bf16")
    assert half.status == 0, half.err
    assert "evidence in bf16" in half.out
    after = stamps(tmp_path)
    assert {path: after[path] for path in before} == before
    whole_row, half_row = sorted(rows.load_all(tmp_path), key=lambda row: row.evidence_precision, reverse=True)
    assert (whole_row.evidence_precision, half_row.evidence_precision) == ("fp32", "bf16")
    assert whole_row.checkpoint_sha256 == half_row.checkpoint_sha256
    files = sorted((tmp_path / "evidence").glob("[!.]*"), key=lambda file: len(file.name))
    assert [file.name.partition("-labels")[2] for file in files] == [".safetensors", "-bf16.safetensors"]
    whole_pool, half_pool = map(label_files.load, files)
    job = job_of(small, recipe)
    images = next(Pools(CPU).of(job, job.dataset.test, np.arange(60)).clean())
    network = job.network(tmp_path, CPU)
    with torch.inference_mode():
        np.testing.assert_array_equal(whole_pool.evidence.logits, network(images).logits.numpy())
    folded = fold_batchnorm(network, job.spec.image_size)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(half_pool.evidence.logits, folded(images).logits.float().numpy())
    apart = np.abs(half_pool.evidence.logits - whole_pool.evidence.logits).max()
    assert 1e-4 < apart < 0.05
    assert half_pool.metadata["key"] == evidence.key(job, half_row.checkpoint_sha256, "bf16")
    again = call(*asked, "--evidence-precision", "bf16")
    assert (again.status, again.out) == (0, half.out)
    assert stamps(tmp_path) == after


def test_identities_of_float32_are_older_than_the_choice(small: Path, recipe: Path, tmp_path: Path) -> None:
    """Stored evidence and rows of float32 are found again; rows that called themselves bf16 before it was are not."""
    job = job_of(small, recipe)
    known = {"label_evidence_version": 1, "checkpoint": "a" * 64, "test": job.dataset.test.fingerprint}
    assert evidence.key(job, "a" * 64) == digest(known)
    asked = ["--dataset", small, "--recipe", recipe, "--device", "cpu", "--results", tmp_path, "--methods", "ltml"]
    ids = {}
    for precision in ("fp32", "bf16"):
        options = parser().parse_args([*map(str, asked), "--shift", "natural", "--evidence-precision", precision])
        session = request_of(RunRequest, options).session()
        ((task,),) = map(session.asked, session.models)
        as_before = {
            "subject": {"training": job.key, "test": job.dataset.test.fingerprint, "precision": precision},
            "label_evidence_version": 1,
            "label_metrics_version": METRICS_VERSION,
            "resamples": RESAMPLES,
            "adapter": {"adapter": "mean", "adapter_version": Mean.version},
            "shift": "natural",
            "indices": task.draws.indices_sha256,
        }
        ids[precision] = task.row_id, digest(as_before)
    assert ids["fp32"][0] == ids["fp32"][1]
    assert ids["bf16"][0] not in {ids["bf16"][1], *ids["fp32"]}


def job_of(data: Path, recipe: Path) -> TrainingJob:
    """The job of ltml on a folder."""
    dataset = load(str(data))
    return TrainingJob(dataset, training_set(dataset), papers.get("ltml"), get_recipe(str(recipe), str(data)), seed=0)


def test_training_commands_for_a_scheduler(small: Path, recipe: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(map(str, range(40))))
    asked = ["--dataset", small, "--ids", ids, "--recipe", recipe, "--methods", "bce", "--dry-run", "--jobs"]
    result = call(*asked, "--results", tmp_path / "results")
    assert result.status == 0, result.err
    assert f"--ids {ids}" in one_line(result.out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--adapters", "sade"], ["adapter sade does not apply to small", "allowed: mean"]),
        (["--adapters", "meen"], ["unknown adapter 'meen'", "mean"]),
        (["--methods", "softmax"], ["softmax", "allowed: bce", "ltml"]),
        (["--shift", "dirichlet-0.1-s7"], ["dirichlet-0.1-s7", "forward_lt, uniform, backward_lt, natural"]),
        (["--train-imbalance", "10"], ["small is multi-label", "allowed is natural"]),
        (["--ids", "no-such.txt"], ["--ids no-such.txt", "No such file"]),
        (["--evidence", "x.safetensors", "--ids", "y"], ["--ids is about our own models"]),
    ],
)
def test_refused(small: Path, recipe: Path, tmp_path: Path, arguments: list[str], said: list[str]) -> None:
    about = [] if "--evidence" in arguments else ["--dataset", small, "--recipe", recipe]
    methods = [] if {"--methods", "--evidence"} & set(arguments) else ["--methods", "bce"]
    result = call(*about, "--device", "cpu", *methods, *arguments, "--results", tmp_path / "results")
    assert result.status == 2, result
    for part in said:
        assert part in one_line(result.err)
    assert not (tmp_path / "results").exists()


def test_multi_label_methods_need_label_sets(tmp_path: Path, recipe: Path) -> None:
    result = call("--recipe", recipe, "--methods", "ltml", "--results", tmp_path / "results")
    assert result.status == 2
    for part in ("ltml", "embedded", "allowed: softmax", "sade"):
        assert part in one_line(result.err)


def test_described(tmp_path: Path) -> None:
    """Label counts, what the shifts reach, and which labels come together."""
    asked = ["--dataset", "embedded_mosaics", "--shift", "forward_lt", "natural"]
    text = call(*asked, module="shifts.describe").out
    assert "head/medium/tail labels: 3/3/4" in text
    assert "most often together: T - shirt / top + Trouser" in text
    found = json.loads(call(*asked, "--json", module="shifts.describe").out)
    assert [one["shift"] for one in found] == ["forward_lt-50", "natural"]
    assert found[0]["tv_wanted"] <= 0.02
    assert found[1]["tv_wanted"] is None
    assert found[1]["counts"] == [500] * 10 == np.diag(found[1]["co_occurrence"]).tolist()
    refused = call(*asked, "--export", tmp_path / "export", module="shifts.describe")
    assert refused.status == 2
    assert "multi-label" in one_line(refused.err)
    assert not (tmp_path / "export").exists()
