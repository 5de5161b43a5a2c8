"""Rows: one for each (dataset, training set, method, recipe, train seed, adapter, shift), flat and typed.

A row is a file: the published draw in full, its redraws as scalars. It is complete or absent; a stored one is never
computed again while what determines it stays the same (`row_id`).
"""

from dataclasses import dataclass
from pathlib import Path

from harness.records.record import Json, JsonFiles, Kind

ROW_SCHEMA = 3


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
    data_notes: list[str]
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


def _from_older(values: Json) -> Json:
    return {"data_notes": []} | values  # data had no check-up before schema 3


FILES = JsonFiles(Kind(Row, "row", ROW_SCHEMA, _from_older), folder="rows", packed="rows")
path, store, read, load_all, pack = FILES.path, FILES.store, FILES.read, FILES.load_all, FILES.pack
named = FILES.named


def folder(results: Path) -> Path:
    """Return the folder where rows are kept."""
    return results / FILES.folder


def complete(where: Path, checkpoint_sha256: str | None, redraws: int) -> bool:
    """Return whether the row at `where` needs no work: it exists, is of this checkpoint and has enough redraws."""
    if not where.exists():
        return False
    row = read(where)
    return checkpoint_sha256 in (None, row.checkpoint_sha256) and len(row.redraws) >= redraws
