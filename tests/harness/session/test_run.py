"""The main command end to end, on small datasets; on the embedded data among what is exhaustive."""

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import harness
from harness import adapters
from harness.board import build as leaderboard
from harness.board.schema import validate
from harness.protocol.draws import Draws
from harness.records import rows
from shifts.common.errors import BadInput
from shifts.common.requests import request_of
from shifts.images.catalog import load
from shifts.images.embedded import FOLDER as EMBEDDED_FOLDER
from shifts.labels.shift import Shift, published_shifts
from shifts.sets.resolve import resolve
from tests.harness.small import (
    ADAPTERS,
    RECIPE,
    SMALL_ROWS,
    Result,
    call,
    command,
    environment,
    leaderboard_bytes,
    one_line,
    stamps,
    visible,
    write_dataset,
)

ELEVEN = [str(shift) for shift in published_shifts()]


@dataclass(frozen=True)
class Run:
    """A finished run over the eleven published shifts: what was asked, where it is, what was printed, its data."""

    asked: list[object]
    results: Path
    said: Result
    classes: int = 10
    per_class: int = 60
    train_imbalance: float = 10


@pytest.fixture(scope="module", params=["small", pytest.param("embedded", marks=pytest.mark.exhaustive)])
def whole(request: pytest.FixtureRequest, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The real command on ten small classes, or on the embedded data."""
    folder = tmp_path_factory.mktemp(request.param)
    asked: list[object] = ["--device", "cpu", "--recipe", recipe, "--shift", "all", "--views", "1", "--redraws", "1"]
    asked += ["--methods", "softmax", "sade"]
    if request.param == "small":
        asked += ["--dataset", write_dataset(folder / "data", classes=10), "--train-imbalance", "10"]
    said = command(*asked, "--adapters", *ADAPTERS, "--results", folder / "results")
    assert said.status == 0, said.err
    sizes = {} if request.param == "small" else {"per_class": 500, "train_imbalance": 100}
    return Run(asked, folder / "results", said, **sizes)


def test_leaderboard_is_valid_and_complete(whole: Run) -> None:
    board = json.loads(leaderboard_bytes(whole.results))
    validate(board)
    assert {entry["shift"] for entry in board["entries"]} == set(ELEVEN)
    assert len(board["entries"]) == 11 * SMALL_ROWS
    assert {(entry["method"], entry["adapter"]) for entry in board["means"]} == {
        *(("softmax", adapter) for adapter in ("mean", "em", "oracle_prior")),
        *(("sade", adapter) for adapter in ADAPTERS),
    }
    for mean in board["means"]:
        same = [e for e in board["entries"] if (e["method"], e["adapter"]) == (mean["method"], mean["adapter"])]
        assert mean["top1"] == pytest.approx(np.mean([entry["top1"]["mean"] for entry in same]))
        assert mean["worst_top1"] == min(entry["top1"]["mean"] for entry in same)
    for entry in board["entries"]:
        assert entry["train_imbalance"] == whole.train_imbalance
        assert entry["top1"]["sd"] is None
        low, high = entry["top1_interval"]
        assert 0 <= low <= entry["top1"]["mean"] <= high <= 1
        assert entry["redraws"] == (0 if entry["shift"] == "uniform" else 1)


def test_shifts_have_their_sizes(whole: Run) -> None:
    """The exponential profile of every ratio, the same forward and backward."""
    found = {row.shift: row for row in rows.load_all(whole.results) if (row.method, row.adapter) == ("softmax", "mean")}
    for shift in published_shifts():
        row = found[str(shift)]
        if shift.ratio is None:
            assert row.per_class_total == [whole.per_class] * whole.classes
            continue
        counts = [int(whole.per_class * (1 / shift.ratio) ** (c / (whole.classes - 1))) for c in range(whole.classes)]
        assert row.per_class_total == (counts if shift.kind == "forward_lt" else counts[::-1])
        assert row.n == sum(counts)


def test_table_names_every_method_and_adapter(whole: Run) -> None:
    lines = [line.split()[:2] for line in whole.said.out.splitlines()]
    for adapter in ADAPTERS:
        assert ["sade", adapter] in lines
    for adapter in ("mean", "em", "oracle_prior"):
        assert ["softmax", adapter] in lines
    for heading in ("F50", "F25", "F10", "F5", "F2", "U", "B2", "B5", "B10", "B25", "B50", "mean"):
        assert heading in whole.said.out.split()
    assert "note: sade does not apply to softmax" in whole.said.out
    assert str(whole.results / "leaderboard.json") in whole.said.out
    assert max(map(len, whole.said.out.split("leaderboard:")[0].splitlines())) <= 120
    assert whole.said.err == ""


def test_again_does_nothing_and_says_the_same(whole: Run) -> None:
    results = whole.results
    before, board = stamps(results), leaderboard_bytes(results)
    again = call(*whole.asked, "--adapters", *ADAPTERS, "--results", results)
    assert (again.status, again.err) == (0, "")
    assert stamps(results) == before
    assert leaderboard_bytes(results) == board
    assert again.out == whole.said.out
    asked = call(*whole.asked, "--shift", "backward_lt", "--methods", "sade", "--redraws", "0", "--results", results)
    assert asked.status == 0, asked.err
    assert "backward_lt-50" in asked.out
    assert "softmax" not in asked.out, "the table shows what was asked for"
    assert {path: stamp for path, stamp in stamps(results).items() if path in before} == before
    new = set(stamps(results)) - set(before)
    beyond = {name for name, _ in adapters.names()} - set(ADAPTERS)
    assert {path.name.partition("@")[0] for path in new} <= beyond, "default adapters beyond those asked for at first"


def test_the_embedded_data_is_the_default(tmp_path: Path) -> None:
    short = tmp_path / "short.toml"
    short.write_text(RECIPE.replace("epochs = 2", "epochs = 1").replace("[1, 2]", "[1, 1]"))
    asked = ["--device", "cpu", "--recipe", short, "--methods", "softmax", "--adapters", "em", "--redraws", "0"]
    assert call(*asked, "--results", tmp_path).status == 0
    (row,) = rows.load_all(tmp_path)
    assert (row.dataset, row.shift, row.train_imbalance, row.n) == ("embedded", "backward_lt-50", 100, 1394)


def test_several_seeds_have_a_deviation(asked: list[str], copied: Path, small_results: Path) -> None:
    before = stamps(copied)
    result = call(*asked, "--seeds", "0", "1", "2", "--results", copied)
    assert result.status == 0, result.err
    assert "3 train seeds" in result.out
    assert "±" in result.out
    assert {path: stamp for path, stamp in stamps(copied).items() if path in before} == before, "seed 0 is kept"
    found = rows.load_all(copied)
    assert len(found) == 3 * SMALL_ROWS
    for entry in leaderboard.read(copied)["entries"]:
        values = [row.top1 for row in found if row.row_id in entry["row_ids"]]
        assert entry["train_seeds"] == [0, 1, 2]
        assert entry["top1"]["mean"] == pytest.approx(np.mean(values))
        assert entry["top1"]["sd"] == pytest.approx(np.std(values, ddof=1))
        assert entry["top1_interval"] is None
    (single,) = {entry["top1"]["sd"] for entry in leaderboard.read(small_results)["entries"]}
    assert single is None
    assert "±" not in call(*asked, "--results", small_results).out.partition("\n\ninterval:")[0]
    weights = {row.checkpoint_sha256 for row in found}
    assert len(weights) == 6, "every method and seed has weights of its own"


def test_same_command_same_numbers(asked: list[str], small_results: Path, tmp_path: Path) -> None:
    """Elsewhere, in another order, in two sittings."""
    assert call(*asked, "--methods", "sade", "--results", tmp_path).status == 0
    assert leaderboard_bytes(tmp_path) != leaderboard_bytes(small_results)
    assert call(*asked, "--methods", "sade", "softmax", "--results", tmp_path).status == 0
    assert leaderboard_bytes(tmp_path) == leaderboard_bytes(small_results)


def test_more_redraws_are_added_fewer_change_nothing(asked: list[str], copied: Path) -> None:
    board = leaderboard_bytes(copied)
    assert call(*asked, "--redraws", "0", "--results", copied).status == 0
    assert leaderboard_bytes(copied) == board
    assert call(*asked, "--redraws", "3", "--results", copied).status == 0
    assert {len(row.redraws) for row in rows.load_all(copied)} == {3}
    old, new = json.loads(board)["entries"], leaderboard.read(copied)["entries"]
    assert [entry["top1"] for entry in old] == [entry["top1"] for entry in new]


def test_redraws_are_the_shifts_draws_under_further_seeds() -> None:
    dataset = load("embedded")
    counts = np.arange(10, 0, -1)
    for shift, seeds in (("backward_lt-50", [0, 1, 2, 3]), ("uniform", [0]), ("forward_lt-10-first_n", [0])):
        found = Draws(dataset, counts, Shift.parse(shift), 3).all
        assert [one.seed for one in found] == seeds
        for one in found:
            expected, _ = resolve(dataset, Shift.parse(shift), counts, one.seed)
            np.testing.assert_array_equal(one.indices, expected)
        assert len({tuple(one.indices) for one in found}) == len(seeds)


def test_other_numbers_of_views_share_what_has_none(asked: list[str], copied: Path) -> None:
    before = stamps(copied)
    assert call(*asked, "--views", "2", "--results", copied).status == 0
    new = [path.relative_to(copied).parts for path in stamps(copied) if path not in before]
    assert sorted({parts[0] for parts in new}) == ["evidence", "rows"]
    assert {parts[-1].partition("@")[0] for parts in new if parts[0] == "rows"} == {"sade"}


def test_bfloat16_evidence_has_rows_of_its_own(asked: list[str], copied: Path) -> None:
    before = {row.row_id: row for row in rows.load_all(copied)}
    assert call(*asked, "--evidence-precision", "bf16", "--results", copied).status == 0
    new = [row for row in rows.load_all(copied) if row.row_id not in before]
    pairs = [
        (row, other)
        for row in new
        for other in before.values()
        if (row.checkpoint_sha256, row.adapter, row.shift) == (other.checkpoint_sha256, other.adapter, other.shift)
    ]
    assert len(pairs) == len(new) > 0
    for row, other in pairs:
        assert (row.evidence_precision, other.evidence_precision) == ("bf16", "fp32")
        assert row.nll != other.nll, "it is not the same evidence under another name"
        assert row.nll == pytest.approx(other.nll, rel=0.05)
    entries = leaderboard.read(copied)["entries"]
    assert {entry["evidence_precision"] for entry in entries} == {"fp32", "bf16"}


def test_ratios_shifts_and_notes(asked: list[str], copied: Path) -> None:
    result = call(*asked, "--shift", "forward_lt", "uniform", "--imbalance", "5", "2", "--results", copied)
    assert result.status == 0, result.err
    assert "note: uniform has no ratio; --imbalance is not used for it" in result.out
    found = {row.shift for row in rows.load_all(copied)}
    assert found == {"backward_lt-50", "forward_lt-5", "forward_lt-2", "uniform"}
    listed = copied / "list.txt"
    listed.write_text("".join(f"{index} {index % 4}\n" for index in range(7, 30)))
    custom = copied / "custom.json"
    custom.write_text(json.dumps([10, 0, 5, 1]))
    shifts = ["--shift", "shuffled_lt-10-s3", "dirichlet-0.5-s7", f"custom-{custom}", "--shift-list", str(listed)]
    result = call(*asked, *shifts, "--adapters", "mean", "--results", copied)
    assert result.status == 0, result.err
    sizes = {row.shift: row.n for row in rows.load_all(copied)}
    assert sizes[f"list-{listed}"] == 23
    assert {"shuffled_lt-10-s3", "dirichlet-0.5-s7", f"custom-{custom}"} <= set(sizes)


def test_normalisation_is_part_of_what_is_trained(tmp_path: Path) -> None:
    """The same images under other pixel statistics give other weights, so another key; an export keeps them."""
    from harness.run import parser
    from methods.jobs.request import TrainingRequest

    export = tmp_path / "export"
    described = call("--export", export, module="shifts.describe")
    assert described.status == 0, described.err
    other = tmp_path / "other"  # the same training pool with another test pool: not the embedded data, so no statistics
    other.mkdir()
    train = (EMBEDDED_FOLDER / "train-00000-of-00001.parquet").read_bytes()
    for split in ("train", "test"):
        (other / f"{split}-00000-of-00001.parquet").write_bytes(train)
    asked = ["--methods", "softmax", "--train-imbalance", "100", "--dataset"]
    named, exported, folder, same = (
        request_of(TrainingRequest, parser().parse_args([*asked, str(name)])).jobs()[0]
        for name in ("embedded", export, other, EMBEDDED_FOLDER)
    )
    assert named.training.fingerprint == exported.training.fingerprint == folder.training.fingerprint
    assert named.key == same.key, "known by its content, whatever it is called"
    assert named.key == exported.key
    assert named.key != folder.key


def test_dry_run_writes_nothing(asked: list[str], tmp_path: Path) -> None:
    result = call(*asked, "--dry-run", "--results", tmp_path / "results")
    assert result.status == 0, result.err
    assert "0 of 3 rows done; to train, 2 epochs" in result.out
    assert "0 of 5 rows done" in result.out
    assert "training left" in result.out
    assert "note: sade does not apply to softmax" in result.out
    assert not list(tmp_path.iterdir())


def test_dry_run_knows_what_is_done(asked: list[str], copied: Path) -> None:
    before = stamps(copied)
    result = call(*asked, "--seeds", "0", "1", "--dry-run", "--results", copied)
    assert result.status == 0, result.err
    assert "3 of 3 rows done\n" in result.out
    assert "5 of 5 rows done\n" in result.out
    assert result.out.count("to train") == 2
    assert stamps(copied) == before
    jobs = call(*asked, "--seeds", "0", "1", "--dry-run", "--jobs", "--results", copied)
    assert [line.split()[-1] for line in jobs.out.splitlines()] == ["1", "1"], "seed 0 is trained"


def test_jobs_are_commands_that_work(
    asked: list[str], recipe: Path, data: Path, small_results: Path, tmp_path: Path
) -> None:
    """As in --help: through xargs and a shell, and from a folder whose name has a space."""
    results = tmp_path / "with space" / "results"
    jobs = call(*asked, "--dry-run", "--jobs", "--results", results)
    assert (jobs.status, jobs.err) == (0, "")
    assert not results.parent.exists()
    lines = jobs.out.splitlines()
    assert [shlex.split(line)[:3] for line in lines] == [["python", "-m", "methods.train"]] * 2
    (sade,) = [line for line in lines if "sade" in line]
    done = subprocess.run(
        "tr '\\n' '\\0' | xargs -0 -P 2 -n 1 sh -c",
        shell=True,
        input=sade + "\n",
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    trained = Path(one_line(done.stdout))
    assert trained.parent == results / "checkpoints"
    before = stamps(results)
    assert {path.suffix for path in before} == {".safetensors", ".json"}
    left = call(*asked, "--dry-run", "--jobs", "--results", results)
    assert left.out.splitlines() == [line for line in lines if line != sade]
    assert call(*asked, "--results", results).status == 0
    assert {path: stamp for path, stamp in stamps(results).items() if path in before} == before
    assert leaderboard_bytes(results) == leaderboard_bytes(small_results)


def test_jobs_name_what_changes_the_weights(asked: list[str], tmp_path: Path) -> None:
    jobs = call(*asked, "--dry-run", "--jobs", "--results", tmp_path, "--accumulate", "2", "--sync-bn")
    assert all(line.endswith("--accumulate 2 --sync-bn") for line in jobs.out.splitlines())
    assert len(jobs.out.splitlines()) == 2


def test_train_command_reports_and_keeps(asked: list[str], data: Path, recipe: Path, tmp_path: Path) -> None:
    arguments = ["--dataset", data, "--recipe", recipe, "--train-imbalance", "10", "--results", tmp_path / "results"]
    bad = ["--methods", "ldam_drw:max_margin=1e39", "softmax"]
    done = call(*arguments, *bad, module="methods.train")
    assert done.status == 1
    assert "ldam_drw: loss is" in one_line(done.err)
    assert "softmax" in one_line(done.out)
    kept = stamps(tmp_path / "results")
    again = call(*arguments, "--methods", "softmax", module="methods.train")
    assert (again.status, again.out, again.err) == (0, done.out, "")
    assert stamps(tmp_path / "results") == kept


@pytest.mark.parametrize("argument", ["--list", "--help"])
def test_what_only_tells_does_not_load_torch(argument: str) -> None:
    code = (
        "import sys\nfrom harness.run import main\n"
        "try:\n    main([sys.argv[1]])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "loaded = {'torch', 'datasets', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules)\nassert not loaded, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, argument], capture_output=True, text=True, env=environment(), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    if argument == "--list":
        for name in (
            "embedded",
            "cifar100",
            "softmax",
            "sade",
            "em",
            "best_expert",
            "published-xF",
            "dirichlet-0.1-s7",
        ):
            assert name in done.stdout.split()
    else:
        assert "examples:" in done.stdout
        assert "python -m harness.run --shift backward_lt --imbalance 50" in done.stdout
        assert "tr '\\n' '\\0'" in done.stdout


def test_default_recipe_and_results_are_those_of_the_readme(tmp_path: Path) -> None:
    from harness.run import parser

    options = parser().parse_args([])
    assert (options.recipe, options.seeds, options.dataset) == ("quick", [0], "embedded")
    assert str(options.results) == "results"
    assert (options.views, options.redraws, options.methods, options.adapters) == (3, 10, None, None)


def test_results_are_where_they_are_said_to_be(small_results: Path, asked: list[str]) -> None:
    folders = {path.relative_to(small_results).parts[0] for path in visible(small_results)}
    assert folders == {"checkpoints", "evidence", "rows", "leaderboard.json"}
    assert RECIPE.startswith("backbone")
    for row in rows.load_all(small_results):
        assert row.parameters
        assert row.macs
        assert row.train_seconds
        assert row.evidence_seconds
        assert (row.train_n, row.train_counts) == (sum(row.train_counts), [60, 27, 12, 6])
        assert row.device.startswith("cpu")
        assert row.determinism == "bit for bit"


def test_a_program_asks_and_gets_the_entries_of_the_command(data: Path, recipe: Path, copied: Path) -> None:
    before = stamps(copied)
    answer = harness.ask(
        dataset=data,
        recipe=recipe,
        device="cpu",
        train_imbalance=10,
        views=1,
        redraws=1,
        methods=["softmax", "sade"],
        adapters=ADAPTERS,
        results=copied,
        sync_bn=False,
        size=None,
    )
    assert stamps(copied) == before, "all of it was stored"
    board = leaderboard.read(copied)["entries"]
    assert sorted(entry["row_ids"] for entry in answer.entries) == sorted(entry["row_ids"] for entry in board)
    assert "sade" in answer.table
    assert answer.notes == [
        "sade does not apply to softmax: a single expert leaves nothing to weight or choose",
        "best_expert does not apply to softmax: a single expert leaves nothing to weight or choose",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shfit": "all"}, "--shfit"),
        ({"shift": "bakward_lt"}, "backward_lt"),
        ({"seeds": [-1]}, "'-1'"),
        ({"dry_run": True}, "dry_run"),
    ],
)
def test_a_program_is_told_what_is_wrong_in_one_line(options: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said) as found:
        harness.ask(results=tmp_path, **options)
    assert "\n" not in str(found.value)
