"""Published figures of methods and adapters, from `reported.toml`."""

import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Reported(NamedTuple):
    """A published top-1 or mAP (fraction of 1), where it was read, and whether the authors themselves print it."""

    value: float
    source: str
    primary: bool


def reported(method: str, adapter: str, dataset: str, imbalance: float | None, shift: str) -> Reported | None:
    """Return a setting's published figure (canonical names, default options; imbalance None: natural), or None."""
    return _figures().get((method, adapter, dataset, imbalance, shift))


@cache
def _figures() -> dict[tuple[str, str, str, float | None, str], Reported]:
    tables = tomllib.loads((Path(__file__).parent / "reported.toml").read_text(encoding="utf-8"))["figures"]
    found: dict[tuple[str, str, str, float | None, str], Reported] = {}
    for table in tables:
        imbalance = None if table["imbalance"] == "natural" else float(table["imbalance"])
        for shift, value in table["top1" if "top1" in table else "map"].items():
            setting = (table["method"], table["adapter"], table["dataset"], imbalance, shift)
            found.setdefault(setting, Reported(value / 100, table["source"], table["primary"]))
    return found
