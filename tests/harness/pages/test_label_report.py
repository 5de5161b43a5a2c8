"""The report's section on label sets, from fake rows: what it says, shows and leaves out."""

import io
from pathlib import Path
from typing import Any

import pytest

from harness.pages.sections.label_sets import ABLATION, section
from harness.records import label_rows as rows
from harness.show.section import Section, Table
from tests.harness.fake import fake_label_row

STEPS = dict(zip([method for _, method in ABLATION], [0.50, 0.54, 0.56, 0.60, 0.61], strict=True))


def made(results: Path, maps: dict[str, float], seeds: int = 3, **changes: Any) -> Section | None:
    for method, value in maps.items():
        for seed in range(seeds):
            for shift, lower in (("uniform", 0.0), ("backward_lt-50", 0.1)):
                kind, _, ratio = shift.partition("-")
                row = fake_label_row(
                    method=method,
                    train_seed=seed,
                    shift=shift,
                    shift_kind=kind,
                    shift_ratio=float(ratio) if ratio else None,
                    indices_sha256=("1" if lower else "2") * 64,
                    map=value - lower + 0.01 * seed,
                    **changes,
                )
                rows.store(rows.path(results, "stem", row.adapter, row.shift, row.row_id), row)
    return section(results)


def test_nothing_to_show(tmp_path: Path) -> None:
    assert section(tmp_path) is None


def test_tables_hold_numbers_as_numbers(tmp_path: Path) -> None:
    found = made(tmp_path, STEPS | {"bce": 0.4})
    assert found is not None
    results, ablation = found.tables
    for table in found.tables:
        assert isinstance(table, Table)
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert [row[0] for row in results.rows] == ["uniform"] * 6 + ["backward_lt-50"] * 6
    best = dict(zip(results.columns, results.rows[0], strict=True))
    assert (best["method"], best["images"], best["TV to wanted"], best["random mAP %"]) == ("ltml", 40, 0.02, 0.25)
    assert best["mAP %"] == pytest.approx(0.62)
    assert best["mAP sd %"] == pytest.approx(0.01)
    by_part = {row[0]: dict(zip(ablation.columns, row, strict=True)) for row in ablation.rows}
    assert [row[1] for row in ablation.rows] == list(STEPS)
    assert by_part["uniform branch alone"]["gain, points"] is None
    assert by_part["re-balanced branch alone"]["gain, points"] is None
    assert by_part["both branches"]["gain, points"] == pytest.approx(0.02), "over the better one alone"
    assert by_part["+ consistency"]["gain, points"] == pytest.approx(0.04)
    assert by_part["+ consistency"]["gain sd %"] == pytest.approx(0, abs=1e-12), "seed by seed"
    assert by_part["+ compensation"]["gain, points"] == pytest.approx(0.01)


def test_the_lead_says_what_consistency_does(tmp_path: Path) -> None:
    found = made(tmp_path, STEPS)
    assert found is not None
    assert "ltml has the highest mAP, 57.0% over U, B50" in found.lead
    assert "consistency adds 4.0 ± 0.0 points" in found.lead
    assert "+1.8" in found.lead
    assert "embedded_mosaics, recipe quick" in found.lead


def test_without_an_ablation_and_with_one_seed(tmp_path: Path) -> None:
    found = made(tmp_path, {"bce": 0.4, "focal": 0.45}, seeds=1, tail=None, tail_interval=None)
    assert found is not None
    assert len(found.tables) == 1
    assert "consistency" not in found.lead
    assert "focal has the highest mAP" in found.lead
    tail = [dict(zip(found.tables[0].columns, row, strict=True))["tail %"] for row in found.tables[0].rows]
    assert tail == [None] * 4
    assert "bootstrap" in found.pictures[0].caption


def test_one_picture_for_each_setting(tmp_path: Path) -> None:
    made(tmp_path, STEPS)
    found = made(tmp_path, {"bce": 0.4}, dataset="own/voc", recipe="published")
    assert found is not None
    assert [picture.name for picture in found.pictures] == ["embedded_mosaics-quick-labels", "own/voc-published-labels"]
    first = found.pictures[0]
    assert [axis.get_title(loc="left") for axis in first.figure.axes] == ["U", "B50"]
    assert {text.get_text() for text in first.figure.axes[0].get_yticklabels()} == set(STEPS)
    assert first.alternative
    file = io.BytesIO()
    first.figure.savefig(file, format="png")
    assert file.getvalue().startswith(b"\x89PNG")
