"""What parts of the leaderboard share: rows of the newest versions, averages over train seeds, published figures."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from harness.board.schema import Average, Reported
from harness.measures.statistics import mean_sd

VERSIONS = ("train_version", "method_version", "adapter_version", "evidence_version", "metrics_version")

HASHES = ("train_fingerprint", "test_fingerprint", "train_counts_sha256", "recipe_sha256")
HASH_DIGITS = 16
"""Hexadecimal digits of these that tell two settings apart; rows have them in full."""
DECIMALS = 8
"""Of the leaderboard's numbers; rows keep every digit."""

R = TypeVar("R")


def pick(row: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return some fields of a row, its hashes as the leaderboard has them."""
    found = {name: getattr(row, name) for name in names}
    return found | {name: found[name][:HASH_DIGITS] for name in HASHES if found.get(name)}


def chosen(entry: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return some fields of an entry."""
    return {name: entry[name] for name in names}


def rounded(value: Any) -> Any:
    """Return a value, or each in a list, at the leaderboard's precision.

    Below .01 a value has as many significant digits as decimals.
    """
    if isinstance(value, float):
        return round(value, DECIMALS) if abs(value) >= 0.01 else float(f"{value:.{DECIMALS}g}")
    return [rounded(part) for part in value] if isinstance(value, list) else value


def newest(group: Sequence[R]) -> list[R]:
    """Return the rows of the newest version of a program part, where there are rows of several."""
    versions = [tuple(version or 0 for version in _VERSIONS(row)) for row in group]
    latest = max(versions)
    return [row for row, version in zip(group, versions, strict=True) if version == latest]


def by_seed(group: Sequence[R]) -> list[R]:
    """Return the rows in the order of their train seeds, those without one first."""
    return sorted(group, key=lambda row: (row.train_seed is not None, row.train_seed or 0))  # type: ignore[attr-defined]


def average(values: Sequence[float | None]) -> Average | None:
    """Return the mean and standard deviation (None for one seed) over train seeds; None where no seed has a value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    summary = mean_sd(known)
    return {"mean": rounded(summary.mean), "sd": rounded(summary.sd), "n": summary.n}


def reported(row: Any) -> Reported | None:
    """Return the published figure that a row has beside its own, if any."""
    if row.reported_value is None:
        return None
    return {"value": row.reported_value, "source": row.reported_source, "primary": row.reported_primary}


_VERSIONS = attrgetter(*VERSIONS)
