"""Records of older and newer schemas, in every kind of file."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from harness.records import label_rows, parquet, rows
from harness.records.record import JsonFiles, Kind, ParquetFiles
from shifts.common.errors import WorkFailed
from tests.harness.fake import fake_label_row, fake_row

ROWS: list[tuple[JsonFiles[Any], Any, tuple[str, ...]]] = [
    (rows.FILES, fake_row(), ("data_notes",)),
    (label_rows.FILES, fake_label_row(), ("data_notes", "evidence_precision")),
]


@pytest.mark.parametrize(("files", "row", "later"), ROWS)
def test_rows_of_the_second_schema(files: JsonFiles[Any], row: Any, later: tuple[str, ...], tmp_path: Path) -> None:
    old = {name: value for name, value in asdict(row).items() if name not in later} | {"schema_version": 2}
    assert files.kind.parse(old) == row
    (packed,) = files.pack([row], tmp_path)
    table = parquet.read(packed).drop_columns(list(later))
    place = table.schema.get_field_index("schema_version")
    parquet.write(packed, table.set_column(place, "schema_version", [[2]]))
    assert files.load_all(tmp_path) == [row]


@dataclass(frozen=True)
class Weighed:
    """A record of schema 2, which named what schema 1 had as `mass`."""

    schema_version: int
    name: str
    grams: float
    parts: list[float]
    note: str | None


def older(values: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in values.items() if name != "mass"}
    return rest | {"grams": 1000 * values["mass"]}


KIND = Kind(Weighed, "weighed thing", 2, older)
FILES = ParquetFiles(KIND, "weighed")
STONE = Weighed(2, "stone", 2500.0, [2000.0, 500.0], None)


def test_parquet_files_of_an_older_schema(tmp_path: Path) -> None:
    where = FILES.path(tmp_path, "one")
    assert FILES.load_all(tmp_path) == FILES.read(where) == []
    FILES.store(where, [STONE, replace(STONE, name="pebble")])
    assert FILES.read(where) == [STONE, replace(STONE, name="pebble")]
    old = {"schema_version": 1, "name": "stone", "mass": 2.5, "parts": [2000.0, 500.0], "note": None}
    parquet.write(where, pa.Table.from_pylist([old]))
    assert FILES.load_all(tmp_path) == [STONE]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 3}, "schema 3 is newer than this program"),
        ({"name": None}, "name is None"),
        ({"grams": "heavy"}, "grams is 'heavy'"),
        ({"parts": [1.0, None]}, r"parts is \[1.0, None\]"),
        ({"colour": "grey"}, r"fields \['colour'\] are missing or unknown"),
    ],
)
def test_parquet_files_of_something_else(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    where = FILES.path(tmp_path, "one")
    parquet.write(where, pa.Table.from_pylist([asdict(STONE) | change]))
    with pytest.raises(WorkFailed, match=rf"one.parquet: not a file of weighed things of schema 2 \({said}\); delete"):
        FILES.read(where)


def test_a_whole_number_stands_for_a_float() -> None:
    assert KIND.parse(asdict(STONE) | {"grams": 2, "parts": [1, 0.5]}).grams == 2
    with pytest.raises(ValueError, match="grams is True"):
        KIND.parse(asdict(STONE) | {"grams": True})
