"""Exports read back by programs that know nothing of ours: csv, pyarrow, pandas, huggingface_hub."""

import csv
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pandas
import pyarrow.csv
import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard

from harness.board.exports import METRICS, SCALARS, csv_text, hub_files, hub_id_of, model_name
from harness.records import rows
from harness.records.record import order
from harness.records.rows import Row
from shifts.common.files import file_name
from tests.harness.fake import fake_row
from tests.harness.small import command, one_line

AWKWARD = 0.1 + 0.2
"""A number that a few digits do not hold."""


def found() -> list[Row]:
    """Two networks, two adapters, two shifts, with awkward numbers and texts; sorted as rows are."""
    made = [
        fake_row(train_seed=seed, checkpoint_sha256=f"{seed}" * 64, adapter=adapter, shift=shift, **changes)
        for seed in (0, 1)
        for adapter, changes in (("em", {"top1": AWKWARD, "nll": 1e-17}), ("sade:tau=3", {"few": None, "views": 3}))
        for shift in ("backward_lt-50", "uniform")
    ]
    made[0] = replace(made[0], device='a "GPU", with\ncommas', reported_source="Größe", reported_value=2 / 3)
    return sorted(made, key=order)


def test_columns_are_the_single_values() -> None:
    assert set(rows.FILES.kind.fields) - set(SCALARS) == {
        *("versions", "redraws", "view_stability", "weights", "preference", "prior_estimate", "train_counts"),
        *("per_class_correct", "per_class_total", "predicted", "correct_bits"),
        *("bins_count", "bins_correct", "bins_confidence", "data_notes"),
    }


def test_csv_reads_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(csv_text(found()), encoding="utf-8")
    with file.open(encoding="utf-8", newline="") as stream:
        read = list(csv.DictReader(stream))
    by_pandas = pandas.read_csv(file)
    by_arrow = pyarrow.csv.read_csv(file, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)).to_pylist()
    assert len(read) == len(by_pandas) == len(by_arrow) == len(found())
    for number, row in enumerate(found()):
        assert list(read[number]) == list(SCALARS)
        for name in SCALARS:
            value = getattr(row, name)
            text, cell = read[number][name], by_pandas[name].iloc[number]
            if value is None:
                assert (text, bool(pandas.isna(cell)), by_arrow[number][name] in (None, "")) == ("", True, True), name
            elif isinstance(value, str):
                assert text == value, name
            else:
                assert type(value)(text) == float(by_arrow[number][name]) == value, name
                # pandas before version 3 reads numbers to the last digit but one.
                assert float(cell) == pytest.approx(value, rel=1e-15, abs=0), name


def test_csv_does_not_depend_on_the_order_of_rows() -> None:
    assert csv_text(found()[::-1]) == csv_text(found())


def test_model_cards_read_back_as_they_were(tmp_path: Path) -> None:
    files = hub_files(found())
    cards = {name: text for name, text in files.items() if name.endswith("README.md")}
    assert len(cards) == 2
    assert set(cards) == set(files), "the embedded data has no id on the Hub"
    for seed, (name, text) in enumerate(sorted(cards.items())):
        (tmp_path / "README.md").write_text(text, encoding="utf-8")
        card = ModelCard.load(tmp_path / "README.md")
        assert card.data.model_name == name.split("/")[0]
        assert len(card.data.model_name) <= 96
        results: list[EvalResult] = card.data.eval_results
        read = {(r.metric_args["row_id"], r.metric_args["field"]): r for r in results}
        mine = [row for row in found() if row.train_seed == seed]
        wanted = {
            (row.row_id, field): getattr(row, field)
            for row in mine
            for field in METRICS
            if getattr(row, field) is not None
        }
        assert len(results) == len(read)
        assert {key: result.metric_value for key, result in read.items()} == wanted
        for row in mine:
            result = read[row.row_id, "top1"]
            assert (result.task_type, result.metric_type) == ("image-classification", "accuracy")
            assert (result.dataset_type, result.dataset_config, result.dataset_split) == ("embedded", row.shift, "test")
            assert result.dataset_args["n"] == row.n
            assert result.metric_config == {"em": "em", "sade:tau=3": "sade:tau=3, 3 view pairs"}[row.adapter]
            assert result.metric_args["test_access"] == row.test_access


def test_eval_results_read_back_as_they_were() -> None:
    if not hasattr(huggingface_hub, "parse_eval_result_entries"):
        pytest.skip("this huggingface_hub does not know .eval_results")
    files = {name: text for name, text in hub_files(found(), "owner/data").items() if ".eval_results" in name}
    names = [model_name(row) for row in found() if (row.adapter, row.shift) == ("em", "uniform")]
    stems = ("em", file_name("sade:tau=3-3-view-pairs"))
    assert sorted(files) == sorted(f"{name}/.eval_results/{stem}.yaml" for name in names for stem in stems)
    for name, text in files.items():
        entries = huggingface_hub.parse_eval_result_entries(yaml.safe_load(text))
        adapter = "em" if name.endswith("/em.yaml") else "sade:tau=3"
        mine = {row.shift: row for row in found() if name.startswith(model_name(row)) and row.adapter == adapter}
        assert {entry.task_id: entry.value for entry in entries} == {shift: row.top1 for shift, row in mine.items()}
        assert len(entries) == len(mine)
        for entry in entries:
            assert entry.dataset_id == "owner/data"
            assert mine[entry.task_id].row_id[:12] in entry.notes
            assert f"adapter {adapter}" in entry.notes


def test_names_of_networks_are_told_apart() -> None:
    row = fake_row(method="prl:variant=released", train_imbalance=None)
    assert model_name(row) == "prl-variant-released-embedded-natural-quick-seed0-" + row.checkpoint_sha256[:8]
    stranger = fake_row(method="x" * 200, recipe=None, train_seed=None, checkpoint_sha256="b" * 64)
    assert model_name(stranger).endswith("-bbbbbbbb")
    assert len(model_name(stranger)) <= 96
    assert len({model_name(row) for row in found()}) == 2


def test_settings_on_one_network_are_told_apart() -> None:
    variants = [{}, {"views": 1}, {"views": 3}, {"source_n": 500}, {"evidence_precision": "bf16"}]
    files = hub_files([fake_row(**variant) for variant in variants], "owner/data")
    assert sum(name.endswith(".yaml") for name in files) == len(variants)


def test_superseded_rows_are_not_published() -> None:
    old, new = fake_row(top1=0.1), fake_row(top1=0.9, adapter_version=2)
    (text,) = hub_files([old, new]).values()
    assert new.row_id in text
    assert old.row_id not in text


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("cifar100", "uoft-cs/cifar100"), ("owner/name", "owner/name"), ("embedded", None), ("my folder", None)],
)
def test_ids_on_the_hub(dataset: str, expected: str | None) -> None:
    assert hub_id_of(dataset) == expected


def test_commands(tmp_path: Path) -> None:
    rows.pack(found(), tmp_path)
    to = tmp_path / "out"
    done = command("--results", tmp_path, "--format", "csv", "--output", to / "r.csv", module="harness.export")
    assert (done.status, done.err, done.out) == (0, "", f"{to / 'r.csv'}: 8 rows\n")
    assert (to / "r.csv").read_text(encoding="utf-8") == csv_text(found())
    done = command("--results", tmp_path, "--format", "hf-yaml", "--output", to / "hub", module="harness.export")
    assert (done.status, done.err) == (0, "")
    assert f"{to / 'hub'}: 2 model cards\nno .eval_results for embedded, not on the Hub" in done.out
    written = {str(file.relative_to(to / "hub")): file.read_text(encoding="utf-8") for file in to.rglob("*.md")}
    assert written == hub_files(found())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "hf-yml", "--output", "x"], "choose from"),
        (["--format", "csv"], "--output"),
        (["--format", "csv", "--output", "x", "--results", "none"], "no results folder none"),
        (["--format", "csv", "--output", "x"], "holds no rows"),
        (["--format", "csv", "--output", "folder"], "must be a file"),
        (["--format", "hf-yaml", "--output", "file"], "must be a folder"),
        (["--format", "hf-yaml", "--output", "x", "--hub-dataset", "data"], "OWNER/NAME"),
        (["--format", "csv", "--output", "x", "--hub-dataset", "a/b"], "goes with --format hf-yaml"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.export import main
    from shifts.common.command import command as ends

    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "results").mkdir()
    assert ends(main)(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in one_line(err)
    assert not (tmp_path / "x").exists()
