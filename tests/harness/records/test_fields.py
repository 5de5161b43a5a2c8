"""Stored forms change on purpose only: the order of fields is the order of columns in CSV and Parquet files."""

import hashlib
from dataclasses import fields

import pytest

from harness.records.label_rows import LabelRow
from harness.records.rows import Row
from harness.studies.estimate.rows import EstimateRow
from harness.studies.route.rows import MeasuredRow, RouteRow
from harness.studies.sweep.rows import SweepRow
from harness.studies.why.findings import Finding

STORED: dict[type, tuple[int, str]] = {
    Row: (90, "60c958ce871b"),
    LabelRow: (66, "c863d1597ddd"),
    EstimateRow: (48, "c4dadec9f3be"),
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
