"""Versions of adapters that were withdrawn because their rows are wrong, from `withdrawn.toml`."""

import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")


@cache
def reasons() -> dict[tuple[str, int], str]:
    """Return (adapter without options, version) -> why its rows are wrong."""
    tables = tomllib.loads((Path(__file__).parent / "withdrawn.toml").read_text(encoding="utf-8"))["withdrawn"]
    return {(table["adapter"], table["version"]): table["reason"] for table in tables}


def reason(row: Any) -> str | None:
    """Return why the version of a row's adapter was withdrawn; None where it was not."""
    return reasons().get((row.adapter.partition(":")[0], row.adapter_version))


def standing(rows: Iterable[R], where: Path) -> Iterator[R]:
    """Yield the rows that were not withdrawn. At the end it is said on stderr how many of which were left out."""
    left_out: Counter[str] = Counter()
    for row in rows:
        why = reason(row)
        if why is None:
            yield row
        else:
            left_out[f"{row.adapter} version {row.adapter_version} ({why})"] += 1  # type: ignore[attr-defined]
    for what, count in sorted(left_out.items()):
        print(f"note: {where}: left out, withdrawn: {count} x {what}", file=sys.stderr)
