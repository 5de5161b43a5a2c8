"""Records as if measured: what a test does not give follows from the types and names of the fields."""

from dataclasses import fields
from hashlib import sha256
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from harness.measures.metrics import pack_bits
from harness.records import label_rows, rows
from harness.records.label_rows import LabelRow
from harness.records.rows import Row
from shifts.common.files import digest

R = TypeVar("R")
BY_TYPE: dict[type, Any] = {int: 1, float: 0.5, bool: False, list: [], dict: {}}
"""Other values are None where the field allows it, or its name: of a hash, the SHA-256 of it."""
SHARED: dict[str, Any] = {
    **{"dataset": "embedded", "train_profile": "exp", "train_imbalance": 100.0, "train_rule": "seeded-shuffle"},
    **{"test_split": "test", "train_subset_seed": 0, "train_counts": [100, 30, 15, 5], "method": "sade"},
    **{"backbone": "resnet8", "parameters": 1000, "macs": 2000, "train_seconds": 12.5, "evidence_seconds": 3.5},
    **{"recipe": "quick", "epochs": 16, "train_seed": 0, "train_version": 1, "adapter": "mean"},
    **{"evidence_precision": "fp32", "prior_access": "none", "label_access": "none", "test_access": "inductive"},
    **{"target_prior_kind": "exact", "selection": "last", "shift": "backward_lt-50", "shift_kind": "backward_lt"},
    **{"shift_ratio": 50.0, "shift_rule": "seeded-shuffle", "shift_origin": "generated", "n": 40},
    **{"tv_train_test": 0.8, "source_n": 0, "source_seen": 0, "draw_seed": 0},
}
"""Values of fields that many tests look at, in every kind of record."""


def fake(kind: type[R], /, **given: Any) -> R:
    """Return a record of a kind; its `row_id`, where it has one, follows from the rest."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    made = {name: SHARED[name] if name in SHARED else _value(name, hints[name]) for name in names} | given
    if "row_id" in made and "row_id" not in given:
        made["row_id"] = digest(made)
    return kind(**made)


def _value(name: str, hint: Any) -> Any:
    if name.endswith(("_sha256", "_fingerprint", "_id")):
        return sha256(name.encode()).hexdigest()
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return None if type(None) in parts else BY_TYPE.get(get_origin(hint) or hint, name)


def fake_row(**given: Any) -> Row:
    """Return a row of 4 classes and 40 images."""
    measured = {
        **{"schema_version": rows.ROW_SCHEMA, "task": "single_label", "evidence_version": 2},
        **{"top1_low": 0.352, "top1_high": 0.648, "many": 0.5, "medium": 0.5, "few": 0.5, "expected_top1": 0.51},
        **{"delta_to_mean": 0.0, "mcnemar_p_to_mean": 1.0, "mean_experts": 3.0, "correct_bits": pack_bits([1, 0] * 20)},
        **{"per_class_correct": [5] * 4, "per_class_total": [10] * 4, "predicted": [10] * 4},
        **{"bins_count": [0] * 14 + [40], "bins_correct": [0] * 14 + [20], "bins_confidence": [0.0] * 14 + [24.0]},
        "redraws": [{"draw_seed": 1, "n": 40, "top1": 0.45}, {"draw_seed": 2, "n": 40, "top1": 0.55}],
    }
    return fake(Row, **(measured | given))


def fake_label_row(**given: Any) -> LabelRow:
    """Return a row of 4 labels and 40 images."""
    measured = {
        **{"schema_version": label_rows.ROW_SCHEMA, "task": "multi_label", "dataset": "embedded_mosaics"},
        **{"method": "ltml", "branches": 2, "labels_per_image": 1.7, "tv_wanted": 0.02, "map_interval": [0.4, 0.6]},
        **{"head": 0.7, "head_interval": [0.6, 0.8], "medium": 0.5, "medium_interval": [0.4, 0.6], "tail": 0.3},
        **{"tail_interval": [0.2, 0.4], "f1_micro": 0.6, "f1_macro": 0.5, "per_class_positives": [10, 10, 10, 0]},
        **{"per_class_ap": [0.7, 0.5, 0.3, None], "per_class_predicted": [12, 8, 4, 1]},
        "per_class_right": [8, 5, 3, 0],
    }
    return fake(LabelRow, **(measured | given))
