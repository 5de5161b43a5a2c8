"""What tests of the multi-label task share: rows as if measured."""

from typing import Any

from harness.multi_label import rows
from harness.multi_label.rows import LabelRow
from shifts.files import digest


def fake_label_row(**changes: Any) -> LabelRow:
    """A row as if measured: 4 labels. `row_id` follows from the rest unless given."""
    values: dict[str, Any] = {
        "schema_version": rows.ROW_SCHEMA,
        "task": "multi_label",
        "dataset": "embedded_mosaics",
        "train_fingerprint": "7" * 64,
        "test_fingerprint": "e" * 64,
        "test_split": "test",
        "train_n": 90,
        "train_labels_per_image": 1.5,
        "train_counts_sha256": "c" * 64,
        "data_notes": [],
        "method": "ltml",
        "method_version": 1,
        "backbone": "resnet8",
        "initial_weights": "random",
        "branches": 2,
        "parameters": 1000,
        "macs": 2000,
        "recipe": "quick",
        "recipe_sha256": "r" * 64,
        "epochs": 16,
        "train_seed": 0,
        "train_version": 1,
        "checkpoint_sha256": "a" * 64,
        "adapter": "mean",
        "adapter_version": 1,
        "evidence_version": 1,
        "prior_access": "none",
        "label_access": "none",
        "test_access": "inductive",
        "selection": "last",
        "shift": "backward_lt-50",
        "shift_kind": "backward_lt",
        "shift_ratio": 50.0,
        "shift_origin": "generated",
        "n": 40,
        "labels_per_image": 1.7,
        "indices_sha256": "1" * 64,
        "tv_train_test": 0.8,
        "tv_wanted": 0.02,
        "metrics_version": 1,
        "map": 0.5,
        "map_interval": [0.4, 0.6],
        "head": 0.7,
        "head_interval": [0.6, 0.8],
        "medium": 0.5,
        "medium_interval": [0.4, 0.6],
        "tail": 0.3,
        "tail_interval": [0.2, 0.4],
        "f1_micro": 0.6,
        "f1_macro": 0.5,
        "train_seconds": 12.5,
        "evidence_seconds": 3.5,
        "device": "cpu (x86_64)",
        "determinism": "bit for bit",
        "versions": {"torch": "2.0", "numpy": "2.1"},
        "revision": "0" * 40,
        "reported_value": None,
        "reported_source": None,
        "reported_primary": None,
        "train_counts": [100, 30, 15, 5],
        "per_class_positives": [10, 10, 10, 0],
        "per_class_ap": [0.7, 0.5, 0.3, None],
        "per_class_predicted": [12, 8, 4, 1],
        "per_class_right": [8, 5, 3, 0],
    }
    values |= changes
    return LabelRow(**{"row_id": digest(values), **values})
