"""Some fields of all rows under a folder, from JSON files, packed files of this schema and older ones."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from harness.board.build import PART
from harness.records import parquet, rows
from harness.records.rows import Row
from shifts.common.errors import WorkFailed
from tests.harness.fake import fake_row

REFERENCE = Path(__file__).parents[3] / "results" / "reference"


def put(results: Path, row: Row) -> None:
    rows.store(rows.path(results, "stem", row.adapter, row.shift, row.row_id), row)


def test_parts_are_those_of_the_rows(tmp_path: Path) -> None:
    made = [
        fake_row(train_seed=0, weights=[0.25, 0.75], few=None, recipe=None, redraws=[]),
        fake_row(train_seed=1, reported_value=0.4, reported_source="Table 3", reported_primary=True),
        fake_row(train_seed=None, train_imbalance=None, dataset="a/b"),
    ]
    rows.pack(made, tmp_path)
    put(tmp_path, fake_row(method="ride"))
    whole = rows.load_all(tmp_path)
    assert len(whole) == 4
    assert {part.row_id: part for part in PART.load_all(tmp_path)} == {row.row_id: PART.of(row) for row in whole}
    assert {tuple(part.redraws) for part in PART.load_all(tmp_path)} == {(), (0.45, 0.55)}


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_rows_of_an_older_schema_have_parts(tmp_path: Path, every: int) -> None:
    """The committed rows, of each file every so many."""
    for file in REFERENCE.glob("rows-*.parquet"):
        table = parquet.read(file)
        parquet.write(tmp_path / file.name, table.take(pa.array(range(0, table.num_rows, every))))
    whole = rows.load_all(tmp_path)
    assert len(whole) > 100
    assert {part.row_id: part for part in PART.load_all(tmp_path)} == {row.row_id: PART.of(row) for row in whole}


def test_the_same_row_in_several_files(tmp_path: Path) -> None:
    row = fake_row()
    (first,) = rows.pack([row], tmp_path)
    first.rename(tmp_path / "rows-a.parquet")
    rows.pack([replace(row, redraws=[{"top1": 0.1}])], tmp_path)
    (part,) = PART.load_all(tmp_path)
    assert part.redraws == [0.1] == [draw["top1"] for draw in rows.load_all(tmp_path)[0].redraws]
    put(tmp_path, replace(row, redraws=[{"top1": 0.2}]))
    (part,) = PART.load_all(tmp_path)
    assert part.redraws == [0.2]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("n", "40", "n is '40'"),
        ("n", None, "n is None"),
        ("weights", ["0.5"], "weights has entries of another type"),
        ("schema_version", 99, "schema 99 is newer"),
        *(("redraws", text, "list of objects with a number top1") for text in ('[{"n": 40}]', "null", None, 1)),
        *(("redraws", text, "not a file of rows of schema") for text in ("", "[", "[1]", '{"top1": 1}')),
    ],
)
def test_packed_files_with_something_else(tmp_path: Path, column: str, value: object, said: str) -> None:
    (file,) = rows.pack([fake_row()], tmp_path)
    table = parquet.read(file)
    place = table.schema.get_field_index(column)
    parquet.write(file, table.set_column(place, column, pa.array([value])))
    with pytest.raises(WorkFailed, match=said) as error:
        list(PART.load_all(tmp_path))
    assert str(error.value).startswith(f"{file}: ")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("drop", ["n", "schema_version", "redraws"])
def test_a_column_that_is_missing(tmp_path: Path, drop: str) -> None:
    (file,) = rows.pack([fake_row()], tmp_path)
    parquet.write(file, parquet.read(file).drop_columns([drop]))
    with pytest.raises(WorkFailed, match=drop):
        list(PART.load_all(tmp_path))
