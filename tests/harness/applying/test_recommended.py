"""What is recommended is what the committed rows say."""

from collections import defaultdict
from pathlib import Path

import pytest

from harness import adapters
from harness.adapters.parts.contract import Adapter
from harness.applying.recommended import RECOMMENDED, Order
from harness.records import rows
from harness.records.rows import Row

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
NEAR = 0.1
"""Points of top-1 that a recommended adapter may lie below another, if it is one that decides whether to adapt."""


@pytest.fixture(scope="module")
def stored() -> list[Row]:
    """The newest rows of models of one label an image."""
    found = [row for row in rows.load_all(REFERENCE) if row.task == "single_label"]
    return [row for row in found if row.adapter_version == getattr(adapters.get(row.adapter), "version", None)]


def gains(stored: list[Row], source: bool, order: Order) -> dict[str, float]:
    """Points over no adaptation of the adapters that may be taken: mean of the datasets' means.

    An adapter must apply to every model, so it has as many rows as `mean`.
    """
    by_adapter: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in stored:
        made = adapters.get(row.adapter)
        seen = ("inductive", "stream") if order == "stream" else ("inductive", "transductive")
        if isinstance(made, Adapter) and (source or made.access.labels == "none") and made.access.test in seen:
            by_adapter[row.adapter][row.dataset].append(100 * row.delta_to_mean)
    whole = {name: len(of) for name, of in by_adapter["mean"].items()}
    return {
        adapter: sum(sum(of) / len(of) for of in found.values()) / len(found)
        for adapter, found in by_adapter.items()
        if {name: len(of) for name, of in found.items()} == whole
    }


@pytest.mark.exhaustive
@pytest.mark.parametrize(("source", "order"), RECOMMENDED)
def test_what_is_recommended_is_best(stored: list[Row], source: bool, order: Order) -> None:
    found = gains(stored, source, order)
    adapter, points = RECOMMENDED[source, order]
    assert points == pytest.approx(found[adapter], abs=0.05)
    slack = NEAR if adapter.startswith("choose") else 0.0
    assert found[adapter] >= max(found.values()) - slack, found
