"""Multi-label rows, their part of the leaderboard and their table, from fake rows."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.board import build as leaderboard
from harness.board import label_table as table
from harness.board.label_build import build
from harness.board.schema import validate
from harness.records import label_rows as rows
from harness.records import rows as single_rows
from harness.records.label_rows import LabelRow
from harness.records.record import order
from shifts.common.errors import WorkFailed
from tests.harness.fake import fake_label_row, fake_row
from tests.harness.small import call, leaderboard_bytes

FULL: dict[str, Any] = {
    "tail": None,
    "tail_interval": None,
    "tv_wanted": None,
    "shift": "natural",
    "shift_kind": "natural",
    "shift_ratio": None,
    "reported_value": 0.81,
    "reported_source": "LTML, table 1",
    "reported_primary": False,
}


def put(results: Path, *found: LabelRow) -> None:
    for row in found:
        rows.store(rows.path(results, "stem", row.adapter, row.shift, row.row_id), row)


@pytest.mark.parametrize("row", [fake_label_row(), fake_label_row(**FULL)])
def test_round_trips(tmp_path: Path, row: LabelRow) -> None:
    put(tmp_path / "a", row)
    assert rows.load_all(tmp_path / "a") == [row]
    other = fake_label_row(dataset="own/voc", method="bce")
    files = rows.pack([row, other], tmp_path / "b")
    assert [file.name for file in files] == [
        "multi_label-embedded_mosaics.parquet",
        "multi_label-own_voc~96f72220f765.parquet",
    ]
    back = rows.load_all(tmp_path / "b")
    assert back == sorted([row, other], key=order)
    assert json.dumps([asdict(one) for one in back]), "plain Python types throughout"
    put(tmp_path / "b", row)
    assert rows.load_all(tmp_path / "b") == back, "packed and loose count once"


def test_kept_apart_from_single_label_rows(tmp_path: Path) -> None:
    single = fake_row()
    single_rows.store(single_rows.path(tmp_path, "stem", single.adapter, single.shift, single.row_id), single)
    put(tmp_path, fake_label_row())
    rows.pack([fake_label_row(train_seed=1)], tmp_path)
    single_rows.pack([fake_row(train_seed=1)], tmp_path)
    assert {row.train_seed for row in single_rows.load_all(tmp_path)} == {0, 1}
    assert {row.train_seed for row in rows.load_all(tmp_path)} == {0, 1}
    assert all(isinstance(row, LabelRow) for row in rows.load_all(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": rows.ROW_SCHEMA + 1}, "newer than this program"),
        ({"map": "0.5"}, "map is '0.5'"),
        ({"top1": 0.5}, "top1"),
        ({"train_seed": 0.5}, "train_seed is 0.5"),
    ],
)
def test_files_that_are_no_rows(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    where = rows.path(tmp_path, "stem", "mean", "uniform", "0" * 64)
    where.parent.mkdir(parents=True)
    where.write_text(json.dumps(asdict(fake_label_row()) | change))
    with pytest.raises(WorkFailed, match=said) as found:
        rows.load_all(tmp_path)
    assert str(where) in str(found.value)


def test_precisions_of_evidence_are_never_mixed(tmp_path: Path) -> None:
    found = [fake_label_row(), fake_label_row(evidence_precision="bf16", map=0.4)]
    entries = build(found)["entries"]
    assert [(entry.get("evidence_precision"), entry["map"]["mean"]) for entry in entries] == [
        ("bf16", 0.4),
        (None, 0.5),
    ]
    put(tmp_path, *found)
    leaderboard.write(tmp_path)
    validate(leaderboard.read(tmp_path))
    assert "adapter mean, evidence in bf16\n" in table.render(entries[:1], ["backward_lt-50"])
    assert "bf16" not in table.render(entries[1:], ["backward_lt-50"])


def test_a_row_of_another_checkpoint_is_not_complete(tmp_path: Path) -> None:
    row = fake_label_row()
    where = rows.path(tmp_path, "stem", row.adapter, row.shift, row.row_id)
    assert not rows.complete(where, None)
    put(tmp_path, row)
    assert rows.complete(where, None)
    assert rows.complete(where, row.checkpoint_sha256)
    assert not rows.complete(where, "b" * 64)


def test_entries_summarise_seeds() -> None:
    values = [0.5, 0.56, 0.53]
    precisions = [[0.7, 0.5, 0.3, None], [0.8, 0.5, 0.3, None], [0.9, 0.5, 0.3, None]]
    found = [
        fake_label_row(train_seed=seed, map=value, per_class_ap=ap)
        for seed, (value, ap) in enumerate(zip(values, precisions, strict=True))
    ]
    found += [fake_label_row(method="bce"), fake_label_row(shift="uniform", indices_sha256="2" * 64)]
    part = build(found)
    assert build(found[::-1]) == part, "whatever the order of rows"
    assert part["superseded"] == 0
    by = {(entry["method"], entry["shift"]): entry for entry in part["entries"]}
    assert list(by) == [("bce", "backward_lt-50"), ("ltml", "backward_lt-50"), ("ltml", "uniform")]
    entry = by["ltml", "backward_lt-50"]
    assert entry["train_seeds"] == [0, 1, 2]
    assert entry["map"] == {
        "mean": pytest.approx(np.mean(values)),
        "sd": pytest.approx(np.std(values, ddof=1)),
        "n": 3,
    }
    assert entry["map_interval"] is None
    assert entry["per_class_ap"] == [pytest.approx(0.8), 0.5, 0.3, None]
    assert by["bce", "backward_lt-50"]["map_interval"] == [0.4, 0.6]
    assert by["bce", "backward_lt-50"]["map"]["sd"] is None


def test_only_the_newest_version_counts() -> None:
    part = build([fake_label_row(map=0.1), fake_label_row(map=0.2, method_version=2)])
    assert part["superseded"] == 1
    assert [entry["map"]["mean"] for entry in part["entries"]] == [0.2]


def test_the_leaderboard_has_a_part_where_there_are_such_rows(tmp_path: Path) -> None:
    single = fake_row()
    single_rows.store(single_rows.path(tmp_path, "stem", single.adapter, single.shift, single.row_id), single)
    leaderboard.write(tmp_path)
    before = leaderboard.read(tmp_path)
    assert set(before) == {"schema_version", "superseded", "entries", "means"}
    put(tmp_path, fake_label_row(), fake_label_row(**FULL))
    leaderboard.write(tmp_path)
    after = leaderboard.read(tmp_path)
    assert {name: after[name] for name in before} == before
    assert [entry["shift"] for entry in after["multi_label"]["entries"]] == ["backward_lt-50", "natural"]
    validate(after)


@pytest.mark.parametrize(
    "change", [{"map": None}, {"task": "single_label"}, {"per_class_ap": [2.0]}, {"shift_kind": "dirichlet"}]
)
def test_the_schema_refuses(tmp_path: Path, change: dict[str, Any]) -> None:
    put(tmp_path, fake_label_row())
    leaderboard.write(tmp_path)
    board = leaderboard.read(tmp_path)
    board["multi_label"]["entries"][0].update(change)
    with pytest.raises(WorkFailed, match=r"breaks its schema at \$.multi_label"):
        validate(board)


def test_packing_keeps_the_leaderboard(tmp_path: Path) -> None:
    put(tmp_path / "a", fake_label_row(), fake_label_row(**FULL))
    result = call("--results", tmp_path / "a", "--pack", tmp_path / "b", module="harness.leaderboard")
    assert "multi_label-embedded_mosaics.parquet" in result.out
    assert leaderboard_bytes(tmp_path / "a") == leaderboard_bytes(tmp_path / "b")


def test_table_of_one_seed_and_of_several() -> None:
    one = build([fake_label_row(), fake_label_row(method="bce", map=0.6), fake_label_row(method="focal", tail=None)])
    text = table.render(one["entries"], ["backward_lt-50"])
    assert max(map(len, text.splitlines())) <= 120
    lines = [line.split() for line in text.splitlines()]
    assert next(line[0] for line in lines if line[:1] in (["bce"], ["ltml"], ["focal"])) == "bce", "best first"
    assert ["ltml", "50.0", "40.0-60.0", "70.0", "50.0", "30.0", "60.0", "50.0"] in lines
    assert ["focal", "50.0", "40.0-60.0", "70.0", "50.0", "-", "60.0", "50.0"] in lines
    assert "n = 40, 1.70 labels an image, TV(train, test) = 0.800, TV(reached, wanted) = 0.020" in text
    assert ["(random", "ranking)", "25.0"] in lines, "10 of 40 images have each label that is there"
    assert "side by side" not in text
    rows_of = [
        fake_label_row(train_seed=seed, shift=shift, indices_sha256=digit * 64, map=0.5 + 0.02 * seed)
        for seed in (0, 1, 2)
        for shift, digit in (("uniform", "1"), ("backward_lt-50", "2"))
    ]
    several = table.render(build(rows_of)["entries"], ["uniform", "backward_lt-50"])
    assert "3 train seeds" in several
    assert "± 2.0" in several
    assert ["method", "U", "B50", "mean"] in [line.split() for line in several.splitlines()]
    assert ["ltml", "52.0", "52.0", "52.0"] in [line.split() for line in several.splitlines()]


def test_table_shows_published_figures_beside() -> None:
    text = table.render(build([fake_label_row(**FULL)])["entries"], ["natural"])
    assert "paper" in text
    assert "81.0" in text
    assert "wanted" not in text
    assert table.render([], ["uniform"]) == "no rows"
