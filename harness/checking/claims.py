"""What a row says of itself beside its figures: versions, what its adapter knew, the published figure beside it."""

from functools import cache
from typing import Any

from harness import adapters
from harness.adapters.parts.contract import Adapter, TruthAdapter
from harness.checking.findings import Fault, Nothing, Outcome, Unknown, compared
from harness.evidence import label_files
from harness.evidence.arrays import EVIDENCE_VERSION
from harness.measures import label_metrics
from harness.measures.metrics import METRICS_VERSION
from harness.records import withdrawn
from harness.records.rows import Row
from methods import papers
from methods.core.method import Method
from methods.papers.reported import reported
from methods.training.loop import TRAIN_VERSION
from shifts.common.errors import BadInput


@cache
def adapter_of(text: str) -> Adapter | TruthAdapter | None:
    """Return this program's adapter of a name with options; None for somebody's own."""
    try:
        return adapters.get(text)
    except BadInput:
        return None


@cache
def method_of(text: str) -> Method | None:
    """Return this program's method of a name with options; None for somebody's own."""
    try:
        return papers.get(text)
    except BadInput:
        return None


def versions(row: Any) -> Outcome:
    """Check that no part has a newer version than this program's; of somebody's own adapter none is known."""
    labels = row.task == "multi_label"
    known = {
        "evidence": (row.evidence_version, label_files.EVIDENCE_VERSION if labels else EVIDENCE_VERSION),
        "metrics": (row.metrics_version, label_metrics.METRICS_VERSION if labels else METRICS_VERSION),
        "train": (row.train_version, TRAIN_VERSION),
    }
    adapter, method = adapter_of(row.adapter), method_of(row.method)
    if method is not None:
        known[f"method {row.method}"] = row.method_version, method.version
    if adapter is not None:
        known[f"adapter {row.adapter}"] = row.adapter_version, adapter.version
    for name, (stored, ours) in known.items():
        if stored is not None and stored > ours:
            return Fault(f"{name} has version {stored}, and this program {ours}: another program, or update this one")
    return None if adapter is not None else Unknown(f"adapter {row.adapter} is not this program's")


def superseded(row: Any) -> str | None:
    """Return the adapter and version of a row that a newer version of this program's adapter has replaced."""
    adapter = adapter_of(row.adapter)
    older = adapter is not None and row.adapter_version < adapter.version
    return f"{row.adapter} version {row.adapter_version}" if older else None


def not_withdrawn(row: Any) -> Outcome:
    """Check that the version of the row's adapter was not withdrawn."""
    reason = withdrawn.reason(row)
    return None if reason is None else Fault(f"{row.adapter} version {row.adapter_version} was withdrawn: {reason}")


def access(row: Any) -> Outcome:
    """Check what a row says that it knew, and the fields that only some adapters fill, against its adapter."""
    adapter = adapter_of(row.adapter)
    if adapter is None:
        return Unknown(f"adapter {row.adapter} is not this program's")
    pairs: list[tuple[str, Any, Any]] = [
        (name, getattr(row, name), value) for name, value in adapter.access.fields.items()
    ]
    if isinstance(row, Row):
        views = bool({"views", "view_features"} & set(adapter.reads))
        inductive = adapter.access.test == "inductive" and not isinstance(adapter, TruthAdapter)
        pairs += [
            ("whether views were read", row.views is not None, views),
            ("whether source labels were read", row.source_n > 0, "source" in adapter.reads),
            ("whether expected_top1 is there", row.expected_top1 is not None, inductive),
        ]
        if isinstance(adapter, TruthAdapter):
            pairs.append(("whether prior_estimate is there", row.prior_estimate is not None, False))
    return compared(pairs)


def published(row: Any) -> Outcome:
    """Check the published figure that stands beside a row."""
    if row.reported_value is None:
        return Nothing()
    imbalance = getattr(row, "train_imbalance", None)
    figure = reported(row.method, row.adapter, row.dataset, imbalance, row.shift)
    if figure is None:
        return Fault(f"{row.reported_value:g} stands beside it, and no figure of this setting is listed")
    names = ("value", "source", "primary")
    return compared((f"reported_{name}", getattr(row, f"reported_{name}"), getattr(figure, name)) for name in names)
