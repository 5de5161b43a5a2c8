"""Rows of the multi-label task: one for each (dataset, method, recipe, train seed, adapter, shift), flat and typed.

Stored as single-label rows are (`harness.records.rows`): one JSON file each, complete or absent, under
`rows/multi_label/`; packed as `multi_label-<dataset>.parquet`.
"""

from dataclasses import dataclass
from pathlib import Path

from harness.records.record import Json, JsonFiles, Kind

ROW_SCHEMA = 4


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
    data_notes: list[str]
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
    evidence_precision: str
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
    f1_micro: float | None
    f1_macro: float | None
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
    per_class_predicted: list[int] | None
    per_class_right: list[int] | None


def _from_older(values: Json) -> Json:
    # Data had no check-up before schema 3, and all evidence was float32 before schema 4.
    return {"data_notes": [], "evidence_precision": "fp32"} | values


FILES = JsonFiles(
    Kind(LabelRow, "multi-label row", ROW_SCHEMA, _from_older), folder="rows/multi_label", packed="multi_label"
)
path, store, read, load_all, pack = FILES.path, FILES.store, FILES.read, FILES.load_all, FILES.pack


def complete(where: Path, checkpoint_sha256: str | None) -> bool:
    """Return whether the row at `where` needs no work: it exists and is of this checkpoint."""
    return where.exists() and checkpoint_sha256 in (None, read(where).checkpoint_sha256)
