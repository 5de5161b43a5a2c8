"""Rows: one for each (dataset, training set, method, recipe, train seed, adapter, shift), flat and typed.

A row is a file: the published draw in full, its redraws as scalars. It is complete or absent; a stored one is never
computed again while what determines it stays the same (`row_id`).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from shifts.errors import WorkFailed
from shifts.files import write_text

ROW_SCHEMA = 2

Json = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One measured result. Accuracies are fractions of 1, times are seconds, distances are total variations."""

    schema_version: int
    row_id: str
    task: str
    # data
    dataset: str
    train_fingerprint: str | None
    test_fingerprint: str
    test_split: str
    train_profile: str | None
    train_imbalance: float | None
    train_rule: str | None
    train_subset_seed: int | None
    train_n: int
    train_counts_sha256: str
    # method
    method: str
    method_version: int
    backbone: str | None
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
    views: int | None
    evidence_version: int
    evidence_precision: str | None
    prior_access: str
    label_access: str
    test_access: str
    target_prior_kind: str
    source_n: int
    source_seen: int
    selection: str
    # shift
    shift: str
    shift_kind: str
    shift_ratio: float | None
    shift_alpha: float | None
    shift_seed: int | None
    shift_rule: str | None
    shift_origin: str
    draw_seed: int
    n: int
    indices_sha256: str
    # metrics of the published draw
    metrics_version: int
    top1: float
    top1_low: float
    top1_high: float
    many: float | None
    medium: float | None
    few: float | None
    macro: float
    nll: float
    ece: float
    entropy: float
    delta_to_mean: float
    mcnemar_p_to_mean: float
    expected_top1: float | None
    # distances
    tv_train_test: float
    tv_experts_test_mean: float
    etvd: float
    tv_estimate_test: float | None
    tv_predicted_test: float
    # what was learned
    weights: list[float] | None
    preference: list[float] | None
    prior_estimate: list[float] | None
    view_stability: dict[str, list[float] | None] | None
    # cost
    mean_experts: float
    train_seconds: float | None
    evidence_seconds: float | None
    adapt_seconds: float
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
    per_class_correct: list[int]
    per_class_total: list[int]
    predicted: list[int]
    correct_bits: str
    bins_count: list[int]
    bins_correct: list[int]
    bins_confidence: list[float]
    redraws: list[Json]


FIELDS = tuple(field.name for field in fields(Row))


def _kinds(hint: Any) -> set[type]:
    """The Python types of a field's values as JSON has them; a whole number may stand for a float."""
    kinds = {get_origin(part) or part for part in (get_args(hint) if isinstance(hint, UnionType) else (hint,))}
    return kinds | {int} if float in kinds else kinds


_KINDS = {name: _kinds(hint) for name, hint in get_type_hints(Row).items()}


def folder(results: Path) -> Path:
    """Where rows are kept."""
    return results / "rows"


def path(results: Path, stem: str, adapter: str, shift: str, row_id: str) -> Path:
    """The file of one row: `rows/<checkpoint>/<adapter>@<shift>-<row id>.json`."""
    name = re.sub(r"[^\w.@=-]+", "_", f"{adapter}@{shift}")
    return folder(results) / stem / f"{name[:120]}-{row_id[:12]}.json"


def store(where: Path, row: Row) -> None:
    """Write a row, complete or not at all."""
    write_text(where, json.dumps(asdict(row), allow_nan=False, sort_keys=True) + "\n")


def read(where: Path) -> Row:
    """Read one row file. Raises WorkFailed, naming the file, if it is no row or of a newer schema."""
    try:
        return from_json(json.loads(where.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise WorkFailed(f"{where}: not a row of schema {ROW_SCHEMA} ({error}); delete it and run again") from error


def from_json(values: Json) -> Row:
    """A row from its JSON object, also of an older schema.

    Raises ValueError for a newer schema, missing or unknown fields, wrong types.
    """
    if not isinstance(values, dict) or "schema_version" not in values:
        raise ValueError("no schema_version")
    if values["schema_version"] > ROW_SCHEMA:
        raise ValueError(f"schema {values['schema_version']} is newer than this program")
    if values["schema_version"] == 1:  # all evidence was float32 then
        values = {**values, "schema_version": ROW_SCHEMA, "evidence_precision": "fp32"}
    if set(values) != set(FIELDS):
        raise ValueError(f"fields {sorted(set(values) ^ set(FIELDS))} are missing or unknown")
    for name, kinds in _KINDS.items():
        if type(values[name]) not in kinds:
            raise ValueError(f"{name} is {values[name]!r}")
    return Row(**values)


def complete(where: Path, checkpoint_sha256: str | None, redraws: int) -> bool:
    """Whether the row at `where` needs no work: it exists, is of this checkpoint and has enough redraws."""
    if not where.exists():
        return False
    row = read(where)
    return checkpoint_sha256 in (None, row.checkpoint_sha256) and len(row.redraws) >= redraws


def load_all(results: Path) -> list[Row]:
    """All rows under a results folder, JSON files and packed Parquet files, each row_id once, sorted.

    Raises WorkFailed, naming the file, for one that is no row.
    """
    found = {row.row_id: row for row in _packed(results)}
    # A file in the writing has a name with a leading dot, which pathlib's * matches too.
    for file in sorted(folder(results).glob("*/[!.]*.json")):
        row = read(file)
        found[row.row_id] = row
    return sorted(found.values(), key=order)


def order(row: Row) -> tuple[Any, ...]:
    """Sorting key of rows: data, method, recipe, adapter, shift, seed."""
    return (row.dataset, row.method, row.recipe or "", row.adapter, row.shift, row.train_seed or 0, row.row_id)


def pack(rows: list[Row], destination: Path) -> list[Path]:
    """Write rows as one Parquet file a dataset, `rows-<dataset>.parquet`; returns the files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from shifts.files import atomic

    written = []
    nested = [name for name, hint in get_type_hints(Row).items() if _is_nested(hint)]
    for dataset in sorted({row.dataset for row in rows}):
        columns = [asdict(row) for row in rows if row.dataset == dataset]
        for values in columns:
            values.update({name: json.dumps(values[name], sort_keys=True) for name in nested})
        where = destination / ("rows-" + re.sub(r"[^\w.-]+", "_", dataset) + ".parquet")
        with atomic(where) as temporary:
            pq.write_table(pa.Table.from_pylist(columns), temporary, compression="zstd")
        written.append(where)
    return written


def _is_nested(hint: Any) -> bool:
    """Whether a field holds objects, which a Parquet file keeps as JSON text."""
    return "dict" in str(hint)


def _packed(results: Path) -> Iterator[Row]:
    """Rows of the folder's Parquet files."""
    files = sorted(results.glob("rows-*.parquet"))
    if not files:
        return
    import pyarrow.parquet as pq

    nested = [name for name, hint in get_type_hints(Row).items() if _is_nested(hint)]
    for file in files:
        try:
            for values in pq.read_table(file).to_pylist():
                values.update({name: json.loads(values[name]) for name in nested})
                yield from_json(values)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise WorkFailed(f"{file}: not a file of packed rows ({error})") from error
