"""The leaderboard: derived from rows alone, reproducible, summarised over seeds, without clock or host."""

import json
import random
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from harness.board import build as leaderboard
from harness.board.build import build
from harness.board.schema import LEADERBOARD_SCHEMA, schema, text, validate
from harness.records import rows
from harness.records.rows import Row
from shifts.common.errors import BadInput, WorkFailed
from shifts.labels.shift import published_shifts
from tests.harness.fake import fake_row
from tests.harness.small import command, leaderboard_bytes, one_line

FORBIDDEN = ("device", "host", "second", "time", "date", "clock", "version", "revision", "path", "determinism")


def seeds(*values: float, **changes: Any) -> list[Row]:
    """One row a train seed with these top-1 accuracies."""
    return [fake_row(train_seed=seed, top1=value, **changes) for seed, value in enumerate(values)]


def eleven(seed: int = 0, **changes: Any) -> list[Row]:
    """One row on each published shift."""
    return [
        fake_row(train_seed=seed, shift=str(shift), shift_kind=shift.kind, shift_ratio=shift.ratio, **changes)
        for shift in published_shifts()
    ]


def test_mean_and_sample_deviation_over_seeds() -> None:
    values = [0.50, 0.53, 0.59]
    board = build(seeds(*values))
    (entry,) = board["entries"]
    assert entry["train_seeds"] == [0, 1, 2]
    assert entry["top1"]["n"] == 3
    assert entry["top1"]["mean"] == pytest.approx(np.mean(values))
    assert entry["top1"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert entry["top1_interval"] is None
    assert len(entry["row_ids"]) == len(entry["mcnemar_p_to_mean"]) == 3
    validate(board)


def test_one_seed_has_an_interval_of_its_draw_and_no_spread() -> None:
    (entry,) = build(seeds(0.5))["entries"]
    assert entry["top1"] == {"mean": 0.5, "sd": None, "n": 1}
    assert entry["top1_interval"] == [0.352, 0.648]


def test_an_empty_group_stays_null() -> None:
    (entry,) = build([fake_row(few=None), fake_row(few=None, train_seed=1)])["entries"]
    assert entry["few"] is None
    assert entry["many"]["n"] == 2


def test_redraws_are_spread_not_seeds() -> None:
    (entry,) = build([fake_row(redraws=[{"top1": 0.4}, {"top1": 0.6}]), fake_row(train_seed=1, redraws=[])])["entries"]
    assert entry["redraws"] == 2
    assert entry["redraw_top1"] == pytest.approx(0.5)
    assert entry["subset_sd"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    (entry,) = build([fake_row(redraws=[])])["entries"]
    assert (entry["redraws"], entry["redraw_top1"], entry["subset_sd"]) == (0, None, None)


def test_order_of_rows_does_not_matter() -> None:
    found = [
        *seeds(0.5, 0.6, 0.7),
        *seeds(0.4, 0.5, adapter="em"),
        *eleven(method="softmax"),
        *eleven(1, method="softmax"),
        fake_row(adapter_version=2),
    ]
    text = json.dumps(build(found), sort_keys=True)
    for seed in range(5):
        random.Random(seed).shuffle(found)
        assert json.dumps(build(found), sort_keys=True) == text


def test_settings_and_shifts_are_never_mixed() -> None:
    variants: list[dict[str, Any]] = [
        {},
        {"adapter": "sade", "views": 3},
        {"adapter": "sade", "views": 1},
        {"recipe": "published-x0.1"},
        {"recipe_sha256": "0" * 64},
        {"train_imbalance": 10.0},
        {"train_rule": "first-n"},
        {"train_subset_seed": 1},
        {"test_fingerprint": "0" * 64},
        {"method": "sade:tau=3"},
        {"shift": "backward_lt-25"},
        {"indices_sha256": "0" * 64},
        {"selection": "best-on-test"},
    ]
    board = build([fake_row(**variant) for variant in variants])
    assert len(board["entries"]) == len(variants)
    assert board["superseded"] == 0


@pytest.mark.parametrize("part", ["train", "method", "adapter", "evidence", "metrics"])
def test_superseded_versions_are_left_out(part: str) -> None:
    old, new = fake_row(top1=0.1), fake_row(top1=0.9, **{f"{part}_version": 9})
    board = build([new, old])
    (entry,) = board["entries"]
    assert board["superseded"] == 1
    assert entry["row_ids"] == [new.row_id]
    assert entry["top1"]["mean"] == 0.9


def test_means_need_all_eleven_sets_with_the_same_seeds() -> None:
    complete = eleven()
    (mean,) = build(complete)["means"]
    assert mean["train_seeds"] == [0]
    assert mean["top1"] == pytest.approx(0.5)
    assert build(complete[1:])["means"] == []
    assert build([*complete, *eleven(1)[1:]])["means"] == []
    (both,) = build([*complete, *eleven(1, top1=0.7, delta_to_mean=0.1)])["means"]
    assert both["train_seeds"] == [0, 1]
    assert both["top1"] == pytest.approx(0.6)
    assert both["worst_top1"] == pytest.approx(0.6)
    assert both["delta_to_mean"] == pytest.approx(0.05)


def test_worst_of_the_eleven() -> None:
    found = [fake_row(shift=str(shift), top1=0.3 + 0.01 * k) for k, shift in enumerate(published_shifts())]
    (mean,) = build(found)["means"]
    assert mean["worst_top1"] == pytest.approx(0.3)
    assert mean["top1"] == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("rows_of", "hurts"),
    [
        ([{"top1": 0.5, "top1_high": 0.6, "delta_to_mean": -0.2}], True),
        ([{"top1": 0.5, "top1_high": 0.6, "delta_to_mean": -0.05}], False),
        ([{"top1": 0.5, "top1_high": 0.6, "delta_to_mean": 0.2}], False),
        ([{"top1": 0.5, "top1_high": 0.6, "delta_to_mean": -0.2}] * 2, True),
        (
            [
                {"top1": 0.5, "top1_high": 0.6, "delta_to_mean": -0.2},
                {"top1": 0.5, "top1_high": 0.6, "delta_to_mean": 0.1},
            ],
            False,
        ),
    ],
)
def test_hurts_means_below_the_interval_on_every_seed(rows_of: list[dict[str, float]], hurts: bool) -> None:
    found = [fake_row(adapter="sade", train_seed=seed, **changes) for seed, changes in enumerate(rows_of)]
    (entry,) = build(found)["entries"]
    assert entry["adaptation_hurts"] is hurts


def test_weights_are_averaged_over_seeds() -> None:
    (entry,) = build([fake_row(weights=[0.2, 0.8]), fake_row(weights=[0.6, 0.4], train_seed=1)])["entries"]
    assert entry["weights"] == pytest.approx([0.4, 0.6])


def keys(value: Any) -> set[str]:
    """Every key anywhere in a JSON value."""
    if isinstance(value, dict):
        return set(value) | {key for part in value.values() for key in keys(part)}
    if isinstance(value, list):
        return {key for part in value for key in keys(part)}
    return set()


def test_no_clock_no_host_no_version(small_results: Path) -> None:
    board = leaderboard.read(small_results)
    found = keys(board)
    assert {"top1", "adaptation_hurts", "method"} <= found
    assert {key for key in found for word in FORBIDDEN if word in key} == {"schema_version"}
    text = leaderboard_bytes(small_results).decode()
    for row in rows.load_all(small_results):
        for value in (row.device, row.revision, row.versions["torch"], str(small_results)):
            assert value not in text
        for seconds in (row.train_seconds, row.adapt_seconds):
            assert str(seconds) not in text


def test_what_is_written_is_valid_and_the_same_twice(small_results: Path, copied: Path) -> None:
    validate(leaderboard.read(small_results))
    (copied / "leaderboard.json").unlink()
    leaderboard.write(copied)
    assert leaderboard_bytes(copied) == leaderboard_bytes(small_results)


def test_the_schema_in_the_package_is_that_of_the_types() -> None:
    jsonschema_rs.meta.validate(schema())
    file = Path(leaderboard.__file__).parent / "leaderboard.schema.json"
    assert file.read_text() == text(), "write it anew as harness.board.schema says"
    assert json.loads(text()) == schema()


def test_every_field_of_the_schema_is_asked_for() -> None:
    """An entry with a field less or a field more is refused, at any depth."""
    board = build(eleven())
    validate(board)
    for part in ("entries", "means"):
        for key in board[part][0]:
            broken = json.loads(json.dumps(board))
            del broken[part][0][key]
            with pytest.raises(WorkFailed, match=key):
                validate(broken)
        broken = json.loads(json.dumps(board))
        broken[part][0]["extra"] = 1
        with pytest.raises(WorkFailed, match="extra"):
            validate(broken)
    broken = json.loads(json.dumps(board))
    broken["entries"][0]["top1"]["mean"] = 50.0
    with pytest.raises(WorkFailed, match="50"):
        validate(broken)


WRITTEN = '{{"entries":[\n\n],\n"means":[\n\n],\n"schema_version":{},\n"superseded":0}}\n'
"""The leaderboard of no rows, as it is written."""


def test_the_leaderboard_of_no_rows(tmp_path: Path) -> None:
    assert leaderboard.write(tmp_path, checked=True).read_text() == WRITTEN.format(LEADERBOARD_SCHEMA)


def test_an_entry_that_breaks_the_schema_is_named_and_not_written(tmp_path: Path) -> None:
    row = fake_row(top1=50.0)
    rows.store(rows.path(tmp_path, "stem", row.adapter, row.shift, row.row_id), row)
    with pytest.raises(WorkFailed, match=rf"entry of row {row.row_id[:12]} breaks its schema at \$.top1.mean: 50"):
        leaderboard.write(tmp_path, checked=True)
    assert not (tmp_path / "leaderboard.json").exists()
    assert leaderboard.read(leaderboard.write(tmp_path).parent)["entries"][0]["top1"]["mean"] == 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({"schema_version": LEADERBOARD_SCHEMA + 1}), f"has schema {LEADERBOARD_SCHEMA + 1}"),
        (json.dumps({"schema_version": str(LEADERBOARD_SCHEMA + 1)}), f"has schema {LEADERBOARD_SCHEMA + 1}"),
        (WRITTEN.format(LEADERBOARD_SCHEMA + 1), f"has schema {LEADERBOARD_SCHEMA + 1}"),
        (WRITTEN.format('"none"'), "is no leaderboard"),
        ("{", "is no leaderboard"),
        ("[]", "is no leaderboard"),
        ("{}", "is no leaderboard"),
        (json.dumps({"schema_version": None}), "is no leaderboard"),
    ],
)
def test_a_leaderboard_that_is_not_ours_is_left_alone(tmp_path: Path, text: str, said: str) -> None:
    where = tmp_path / "leaderboard.json"
    where.write_text(text)
    for act in (lambda: leaderboard.check_schema(where), lambda: leaderboard.write(tmp_path)):
        with pytest.raises(BadInput, match=said) as caught:
            act()
        assert str(where) in str(caught.value)
    assert where.read_text() == text


def test_command_rebuilds_and_packs(copied: Path, small_results: Path, tmp_path: Path) -> None:
    (copied / "leaderboard.json").unlink()
    packed = tmp_path / "reference"
    done = command("--results", copied, "--pack", packed, module="harness.leaderboard")
    assert done.status == 0, done.err
    assert leaderboard_bytes(copied) == leaderboard_bytes(small_results) == leaderboard_bytes(packed)
    assert done.out.split() == [
        str(copied / "leaderboard.json"),
        str(packed / "rows-data.parquet"),
        str(packed / "leaderboard.json"),
    ]
    assert rows.load_all(packed) == rows.load_all(small_results)
    none = command("--results", tmp_path / "none", module="harness.leaderboard")
    assert none.status == 2
    assert "no results folder" in one_line(none.err)
    assert not (tmp_path / "none").exists()
