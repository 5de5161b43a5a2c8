"""Rows: round trips through JSON and Parquet, refusals, completeness, and that a row recomputes its own numbers."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from harness.measures.metrics import ece_from_bins, group_accuracies, shot_groups, unpack_bits
from harness.measures.statistics import mcnemar, wilson
from harness.records import rows
from harness.records.record import order
from harness.records.rows import ROW_SCHEMA, Row
from shifts.common.errors import WorkFailed
from shifts.labels.distance import total_variation
from tests.harness.fake import fake_row
from tests.harness.small import SMALL_ROWS

FULL = {
    "weights": [0.1, 0.2, 0.7],
    "prior_estimate": [0.25] * 4,
    "view_stability": {"many": [0.9, 0.8, 0.7], "medium": None, "few": [0.5, 0.6, 0.7]},
    "many": None,
    "reported_value": 0.42,
    "reported_source": "SADE, table 3",
    "reported_primary": True,
    "shift": "dirichlet-0.1-s7",
    "shift_alpha": 0.1,
    "shift_seed": 7,
    "train_imbalance": None,
}


@pytest.mark.parametrize("row", [fake_row(), fake_row(**FULL), fake_row(redraws=[], train_seed=None)])
def test_json_round_trip(tmp_path: Path, row: Row) -> None:
    where = rows.path(tmp_path, "stem", row.adapter, row.shift, row.row_id)
    rows.store(where, row)
    assert rows.read(where) == row
    assert rows.load_all(tmp_path) == [row]


def test_parquet_round_trip_gives_equal_rows(tmp_path: Path, small_results: Path) -> None:
    made = [*rows.load_all(small_results), fake_row(), fake_row(**FULL), fake_row(train_seed=None, dataset="a/b")]
    files = rows.pack(made, tmp_path)
    assert [file.name for file in files] == [
        "rows-a_b~c14cddc033f6.parquet",
        "rows-data.parquet",
        "rows-embedded.parquet",
    ]
    back = rows.load_all(tmp_path)
    assert back == sorted(made, key=order)
    assert [asdict(row) for row in back] == [asdict(row) for row in sorted(made, key=order)]
    assert json.dumps(asdict(back[0])), "plain Python types throughout"


def test_packed_and_loose_rows_count_once(tmp_path: Path) -> None:
    packed, loose = fake_row(), fake_row(train_seed=1)
    rows.pack([packed], tmp_path)
    for row in (packed, loose):
        rows.store(rows.path(tmp_path, "stem", row.adapter, row.shift, row.row_id), row)
    assert rows.load_all(tmp_path) == sorted([packed, loose], key=order)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values.pop("top1"), "top1"),
        (lambda values: values.update(top_1=0.5), "top_1"),
        (lambda values: values.update(schema_version=ROW_SCHEMA + 1), "newer"),
        (lambda values: values.pop("schema_version"), "no schema_version"),
        (lambda values: values.update(top1="0.5"), "top1 is '0.5'"),
        (lambda values: values.update(n=40.0), "n is 40.0"),
        (lambda values: values.update(train_counts=None), "train_counts is None"),
        (lambda values: values.update(train_counts=[1, "2"]), "train_counts is [1, '2']"),
        (lambda values: values.update(train_seed=True), "train_seed is True"),
    ],
)
def test_refused_by_name(tmp_path: Path, change: object, said: str) -> None:
    values = asdict(fake_row())
    change(values)  # type: ignore[operator]
    where = tmp_path / "rows" / "stem" / "row.json"
    where.parent.mkdir(parents=True)
    where.write_text(json.dumps(values))
    for read in (lambda: rows.read(where), lambda: rows.load_all(tmp_path)):
        with pytest.raises(WorkFailed, match="delete it and run again") as caught:
            read()
        assert str(where) in str(caught.value)
        assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\x00", '"row"'])
def test_what_is_no_row(tmp_path: Path, text: str) -> None:
    (tmp_path / "row.json").write_text(text)
    with pytest.raises(WorkFailed, match=r"row\.json"):
        rows.read(tmp_path / "row.json")


def test_a_packed_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows-torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(WorkFailed, match=r"rows-torn\.parquet"):
        rows.load_all(tmp_path)


def test_nan_is_never_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        rows.store(tmp_path / "row.json", replace(fake_row(), nll=float("nan")))
    assert not list(tmp_path.iterdir())


def test_complete(tmp_path: Path) -> None:
    where, row = tmp_path / "row.json", fake_row()
    assert not rows.complete(where, None, 0)
    rows.store(where, row)
    assert rows.complete(where, None, 2)
    assert rows.complete(where, row.checkpoint_sha256, 1)
    assert not rows.complete(where, row.checkpoint_sha256, 3)
    assert not rows.complete(where, "0" * 64, 0)


def test_file_names_stay_apart_and_inside(tmp_path: Path) -> None:
    first = rows.path(tmp_path, "stem", "sade:objective=inner", "custom-../../x.json", "a" * 64)
    second = rows.path(tmp_path, "stem", "sade:objective=inner", "custom-../../x.json", "b" * 64)
    assert first != second
    assert first.parent == tmp_path / "rows" / "stem"
    assert len(rows.path(tmp_path, "stem", "a" * 300, "b" * 300, "c" * 64).name) < 200


def test_rows_recompute_their_own_numbers(small_results: Path) -> None:
    """What a reader can do with rows alone: top-1, shot groups, calibration, distances, intervals, McNemar."""
    found = rows.load_all(small_results)
    assert len(found) == SMALL_ROWS
    mean = {row.method: row for row in found if row.adapter == "mean"}
    for row in found:
        correct, reference = (unpack_bits(one.correct_bits, one.n) for one in (row, mean[row.method]))
        assert row.top1 == sum(row.per_class_correct) / sum(row.per_class_total) == correct.mean()
        groups = group_accuracies(row.per_class_correct, row.per_class_total, shot_groups(row.train_counts))
        assert groups == {"many": row.many, "medium": row.medium, "few": row.few}
        shares = np.divide(row.per_class_correct, row.per_class_total)
        assert row.macro == pytest.approx(shares.mean())
        # Bits stand in class order, so per-class totals cut them into strata.
        strata = np.split(correct, np.cumsum(row.per_class_total)[:-1])
        assert [int(part.sum()) for part in strata] == row.per_class_correct
        assert row.ece == ece_from_bins(row.bins_count, row.bins_correct, row.bins_confidence)
        assert sum(row.bins_correct) == sum(row.per_class_correct)
        assert sum(row.bins_count) == sum(row.predicted) == sum(row.per_class_total) == row.n
        assert row.delta_to_mean == row.top1 - mean[row.method].top1
        assert row.mcnemar_p_to_mean == mcnemar(correct, reference)
        assert (row.top1_low, row.top1_high) == wilson(int(correct.sum()), row.n)
        assert row.tv_predicted_test == total_variation(np.array(row.predicted), np.array(row.per_class_total))
        assert row.tv_train_test == total_variation(np.array(row.train_counts), np.array(row.per_class_total))
        assert (row.expected_top1 is None) == (row.adapter != "mean")
        assert [draw["draw_seed"] for draw in row.redraws] == [1]


def test_rows_say_what_they_knew(small_results: Path) -> None:
    said = {
        row.adapter: (row.prior_access, row.label_access, row.test_access, row.views)
        for row in rows.load_all(small_results)
    }
    assert said == {
        "mean": ("none", "none", "inductive", None),
        "sade": ("none", "none", "transductive", 1),
        "em": ("estimated", "none", "transductive", None),
        "oracle_prior": ("oracle", "none", "inductive", None),
        "best_expert": ("none", "test", "transductive", None),
    }
