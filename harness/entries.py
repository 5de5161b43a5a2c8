"""What parts of the leaderboard share: rows of the newest versions, averages over train seeds, published figures."""

from collections.abc import Sequence
from typing import Any, TypeVar

from harness.statistics import mean_sd

VERSIONS = ("train_version", "method_version", "adapter_version", "evidence_version", "metrics_version")

Entry = dict[str, Any]
R = TypeVar("R")


def pick(row: Any, names: Sequence[str]) -> Entry:
    """Some fields of a row."""
    return {name: getattr(row, name) for name in names}


def newest(group: Sequence[R]) -> list[R]:
    """Of rows of several versions of a program part those of the newest."""
    latest = max(map(_versions, group))
    return [row for row in group if _versions(row) == latest]


def by_seed(group: Sequence[R]) -> list[R]:
    """Rows in the order of their train seeds, those without one first."""
    return sorted(group, key=lambda row: (row.train_seed is not None, row.train_seed or 0))  # type: ignore[attr-defined]


def average(values: Sequence[float | None], decimals: int | None = None) -> Entry | None:
    """Mean and standard deviation (None for one seed) over train seeds; None where no seed has a value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    summary = mean_sd(known)
    found = {"mean": summary.mean, "sd": summary.sd, "n": summary.n}
    if decimals is not None:
        found |= {name: value if value is None else round(value, decimals) for name, value in found.items()}
    return found


def reported(row: Any) -> Entry | None:
    """The published figure that a row has beside its own, if any."""
    if row.reported_value is None:
        return None
    return {"value": row.reported_value, "source": row.reported_source, "primary": row.reported_primary}


def _versions(row: Any) -> tuple[int, ...]:
    return tuple(getattr(row, name) or 0 for name in VERSIONS)
