"""Rows of the multi-label task: one for each (dataset, method, recipe, train seed, adapter, shift), flat and typed.

Stored as single-label rows are (`harness.rows`): one JSON file each, complete or absent, under `rows/multi_label/`;
packed as `multi_label-<dataset>.parquet`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from harness import rows
from harness.rows import Json, is_nested, kinds_of
from shifts.errors import WorkFailed
from shifts.files import atomic, write_text

ROW_SCHEMA = 1
FOLDER = "multi_label"


@dataclass(frozen=True)
class LabelRow:
    """One measured result. mAPs are fractions of 1, times seconds, distances total variations of label marginals."""

    schema_version: int
    row_id: str
    task: str
    # data
    dataset: str
    train_fingerprint: str | None
    test_fingerprint: str
    test_split: str
    train_n: int
    train_labels_per_image: float
    train_counts_sha256: str
    # method
    method: str
    method_version: int
    backbone: str | None
    initial_weights: str
    branches: int
    parameters: int | None
    macs: int | None
    recipe: str | None
    recipe_sha256: str | None
    epochs: int | None
    train_seed: int | None
    train_version: int | None
    checkpoint_sha256: str
    # adapter, and what the row knew
    adapter: str
    adapter_version: int
    evidence_version: int
    prior_access: str
    label_access: str
    test_access: str
    selection: str
    # shift, and how near its marginals came to those asked for
    shift: str
    shift_kind: str
    shift_ratio: float | None
    shift_origin: str
    n: int
    labels_per_image: float
    indices_sha256: str
    tv_train_test: float
    tv_wanted: float | None
    # metrics
    metrics_version: int
    map: float
    map_interval: list[float]
    head: float | None
    head_interval: list[float] | None
    medium: float | None
    medium_interval: list[float] | None
    tail: float | None
    tail_interval: list[float] | None
    # cost
    train_seconds: float | None
    evidence_seconds: float | None
    # where
    device: str
    determinism: str
    versions: dict[str, str]
    revision: str
    # published figure for the same setting
    reported_value: float | None
    reported_source: str | None
    reported_primary: bool | None
    # to recompute from
    train_counts: list[int]
    per_class_positives: list[int]
    per_class_ap: list[float | None]


FIELDS = tuple(field.name for field in fields(LabelRow))
_KINDS = {name: kinds_of(hint) for name, hint in get_type_hints(LabelRow).items()}


def path(results: Path, stem: str, adapter: str, shift: str, row_id: str) -> Path:
    """The file of one row: `rows/multi_label/<checkpoint>/<adapter>@<shift>-<row id>.json`."""
    return rows.path(results, f"{FOLDER}/{stem}", adapter, shift, row_id)


def store(where: Path, row: LabelRow) -> None:
    """Write a row, complete or not at all."""
    write_text(where, json.dumps(asdict(row), allow_nan=False, sort_keys=True) + "\n")


def read(where: Path) -> LabelRow:
    """Read one row file. Raises WorkFailed, naming the file, if it is no row or of a newer schema."""
    try:
        return from_json(json.loads(where.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise WorkFailed(
            f"{where}: not a multi-label row of schema {ROW_SCHEMA} ({error}); delete it and run again"
        ) from error


def from_json(values: Json) -> LabelRow:
    """A row from its JSON object. Raises ValueError for a newer schema, missing or unknown fields, wrong types."""
    if not isinstance(values, dict) or "schema_version" not in values:
        raise ValueError("no schema_version")
    if values["schema_version"] > ROW_SCHEMA:
        raise ValueError(f"schema {values['schema_version']} is newer than this program")
    if set(values) != set(FIELDS):
        raise ValueError(f"fields {sorted(set(values) ^ set(FIELDS))} are missing or unknown")
    for name, kinds in _KINDS.items():
        if type(values[name]) not in kinds:
            raise ValueError(f"{name} is {values[name]!r}")
    return LabelRow(**values)


def complete(where: Path, checkpoint_sha256: str | None) -> bool:
    """Whether the row at `where` needs no work: it exists and is of this checkpoint."""
    return where.exists() and checkpoint_sha256 in (None, read(where).checkpoint_sha256)


def load_all(results: Path) -> list[LabelRow]:
    """All multi-label rows under a results folder, JSON files and packed ones, each row_id once, sorted.

    Raises WorkFailed, naming the file, for one that is no row.
    """
    found = {row.row_id: row for row in _packed(results)}
    for file in sorted((rows.folder(results) / FOLDER).glob("*/[!.]*.json")):
        row = read(file)
        found[row.row_id] = row
    return sorted(found.values(), key=order)


def order(row: LabelRow) -> tuple[Any, ...]:
    """Sorting key of rows: data, method, recipe, adapter, shift, seed."""
    return (row.dataset, row.method, row.recipe or "", row.adapter, row.shift, row.train_seed or 0, row.row_id)


def pack(found: list[LabelRow], destination: Path) -> list[Path]:
    """Write rows as one Parquet file a dataset, `multi_label-<dataset>.parquet`; returns the files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = []
    for dataset in sorted({row.dataset for row in found}):
        columns = [asdict(row) for row in found if row.dataset == dataset]
        for values in columns:
            values.update({name: json.dumps(values[name], sort_keys=True) for name in _nested()})
        where = destination / (f"{FOLDER}-" + re.sub(r"[^\w.-]+", "_", dataset) + ".parquet")
        with atomic(where) as temporary:
            pq.write_table(pa.Table.from_pylist(columns), temporary, compression="zstd")
        written.append(where)
    return written


def _packed(results: Path) -> Iterator[LabelRow]:
    """Rows of the folder's Parquet files."""
    files = sorted(results.glob(f"{FOLDER}-*.parquet"))
    if not files:
        return
    import pyarrow.parquet as pq

    for file in files:
        try:
            for values in pq.read_table(file).to_pylist():
                values.update({name: json.loads(values[name]) for name in _nested()})
                yield from_json(values)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise WorkFailed(f"{file}: not a file of packed multi-label rows ({error})") from error


def _nested() -> list[str]:
    return [name for name, hint in get_type_hints(LabelRow).items() if is_nested(hint)]
