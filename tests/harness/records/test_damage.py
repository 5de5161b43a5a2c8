"""Parquet files of studies, findings and packed rows with changed bytes: one line naming the file, or right rows."""

import io
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.board.build import PART
from harness.records import parquet, rows
from harness.studies.estimate.rows import EstimateRow
from harness.studies.why import findings
from shifts.common.errors import WorkFailed
from tests.harness.fake import fake_row
from tests.harness.small import call, one_line

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
STUDY = "estimates/embedded-sade-quick-s0-55fbe489771c.parquet"
FINDINGS = "why/bias-variance.parquet"
FLIPS = [50, pytest.param(300, marks=pytest.mark.exhaustive)]
"""Changed bits of a file."""

Load = Callable[[Path], list[Any]]
KINDS: dict[str, tuple[str, Load]] = {
    "study": (STUDY, EstimateRow.files().load_all),
    "findings": (FINDINGS, findings.load),
    "rows": ("rows-embedded.parquet", rows.load_all),
    "parts": ("rows-embedded.parquet", lambda results: sorted(PART.load_all(results))),
}


def write(where: Path, kind: str) -> None:
    """A file of this kind, as the program writes it."""
    where.parent.mkdir(parents=True, exist_ok=True)
    if kind in ("rows", "parts"):
        rows.pack([fake_row(train_seed=seed, top1=seed / 10) for seed in range(4)], where.parent)
    else:
        parquet.write(where, pq.read_table(REFERENCE / KINDS[kind][0]))


def footer(content: bytes) -> int:
    """Where the schema and the places of all columns begin."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes(tmp_path: Path, kind: str, checksums: bool, flips: int) -> None:
    name, load = KINDS[kind]
    file = tmp_path / name
    write(file, kind)
    good = load(tmp_path)
    assert len(good) > 3
    if not checksums:
        pq.write_table(pq.read_table(file), file, compression="zstd")
    content = file.read_bytes()
    generator = random.Random(f"{kind} {checksums}")
    said: list[str] = []
    for number in range(flips):
        least, most = (footer(content), len(content)) if number % 2 else (0, footer(content))
        place = generator.randrange(least, most)
        changed = bytearray(content)
        changed[place] ^= 1 << generator.randrange(8)
        file.write_bytes(changed)
        try:
            found = load(tmp_path)
        except WorkFailed as error:
            said.append(str(error))
            continue
        assert all(type(row) is type(good[0]) for row in found), number
        # Without checksums a changed number is a number.
        assert found == good or place >= footer(content) or not checksums, number
    assert len(said) > flips // (3 if checksums else 10)
    assert all(str(file) in text and len(text.splitlines()) == 1 for text in said)
    file.write_bytes(content)
    assert load(tmp_path) == good


def test_a_value_that_was_lost_is_missed(tmp_path: Path) -> None:
    """Columns without a checksum whose numbers became null."""
    for kind, column in (("findings", "value"), ("rows", "n")):
        name, load = KINDS[kind]
        file = tmp_path / name
        write(file, kind)
        table = pq.read_table(file)
        rest = table.column(column).to_pylist()[1:]
        lost = table.set_column(table.schema.get_field_index(column), table.schema.field(column), [[None, *rest]])
        pq.write_table(lost, file)
        with pytest.raises(WorkFailed, match=rf"{file.name}.*\b{column} is"):
            load(tmp_path)


def test_a_damaged_schema_ends_a_command_in_one_line(tmp_path: Path) -> None:
    """The name of a column is no text any more."""
    shutil.copytree(REFERENCE / "estimates", tmp_path / "estimates")
    file = tmp_path / STUDY
    content = file.read_bytes()
    place = content.index(b"tv_target", footer(content))
    file.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
    result = call("--results", tmp_path, module="harness.report")
    assert result.status == 1
    assert one_line(result.err).startswith(f"error: {file}: not ")


def test_what_is_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's answer is feigned: root may read anything."""
    file = tmp_path / STUDY
    write(file, "study")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(parquet.Path, "open", refuse)
    with pytest.raises(PermissionError):
        EstimateRow.files().load_all(tmp_path)


def test_an_older_file_stays_where_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, table = tmp_path / "t.parquet", pq.read_table(REFERENCE / STUDY)
    parquet.write(file, table)
    before = file.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        parquet.write(file, table.slice(0, 1))
    assert file.read_bytes() == before
    assert pq.read_table(io.BytesIO(before)).equals(table)
