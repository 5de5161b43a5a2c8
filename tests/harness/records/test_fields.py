"""Stored forms change on purpose only: the order of fields is the order of columns in CSV and Parquet files."""

import hashlib
from dataclasses import fields
from typing import get_type_hints

import pytest

from harness.board.build import AVERAGED, SETTING, TEST_SET
from harness.choice.entrants import NEVER_MIXED
from harness.pages.blocks import BLOCK
from harness.records.fields import DATA, RECIPE, SHIFT
from harness.records.label_rows import LabelRow
from harness.records.rows import FILES, Row
from harness.studies.estimate.rows import EstimateRow
from harness.studies.route.rows import MeasuredRow, RouteRow
from harness.studies.sweep.rows import SweepRow
from harness.studies.why.findings import SETTING as COMPARED
from harness.studies.why.findings import Finding

STORED: dict[type, tuple[int, str]] = {
    Row: (90, "60c958ce871b"),
    LabelRow: (66, "c863d1597ddd"),
    EstimateRow: (51, "0b35f98f9969"),
    RouteRow: (51, "d8e5a1786865"),
    MeasuredRow: (49, "cfccd64a345c"),
    SweepRow: (53, "e7e5d57eb8a7"),
    Finding: (29, "30ac8073b67a"),
}
"""Number of fields, and the head of the SHA-256 of their names in order; a new schema comes with new values."""


@pytest.mark.parametrize("kind", STORED, ids=lambda kind: kind.__name__)
def test_ordered_fields(kind: type) -> None:
    names = [field.name for field in fields(kind)]
    found = len(names), hashlib.sha256(" ".join(names).encode()).hexdigest()[:12]
    assert found == STORED[kind], f"raise the schema and bring older rows up to it: {names}"


RUNS = (DATA, RECIPE, SHIFT)
LABEL_RUNS = (DATA[:4], RECIPE, SHIFT[:3])


@pytest.mark.parametrize("kind", [Row, LabelRow, EstimateRow, RouteRow, MeasuredRow, SweepRow])
def test_kinds_of_row_agree_on_the_runs_they_share(kind: type) -> None:
    hints = get_type_hints(kind)
    names = " ".join(field.name for field in fields(kind))
    for run in LABEL_RUNS if kind is LabelRow else RUNS:
        assert f" {' '.join(run)} " in names
        for name in run:
            assert hints[name] == get_type_hints(Row)[name]


def test_lists_are_made_of_the_shared_runs() -> None:
    """The leaderboard's types name every field once more, for the schema."""
    assert SETTING[:11] == BLOCK[:11] == NEVER_MIXED[:11] == ("task", *DATA)
    assert (*SHIFT, "n", "indices_sha256") == TEST_SET
    assert {*SETTING, *TEST_SET, *AVERAGED} <= set(FILES.kind.fields)
    assert set(COMPARED) < {*DATA, *RECIPE}
