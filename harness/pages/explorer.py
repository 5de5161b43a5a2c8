"""Leaderboard entries as compact data for the page's table, which a reader sorts and filters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.evidence.access import LABELS, PRIORS, TESTS
from harness.pages.blocks import Block, Line
from harness.show.access import SITUATIONS, knew
from harness.show.shifts import shift_order

Value = str | float | int | None | list[float]
Board = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of the page's table. `kind`: text, percent, points, number or spread (of `top1`)."""

    key: str
    label: str
    kind: str
    value: Callable[[Block, Line, Mapping[str, Any]], Value]
    title: str = ""
    filtered: bool = False


def _mean(name: str) -> Callable[[Block, Line, Mapping[str, Any]], Value]:
    def value(_block: Block, _line: Line, entry: Mapping[str, Any]) -> Value:
        summary = entry[name]
        return None if summary is None else summary["mean"]

    return value


def _spread(_block: Block, _line: Line, entry: Mapping[str, Any]) -> Value:
    """Return the standard deviation over train seeds, or the two ends of the interval for a single one."""
    if entry["top1_interval"] is not None:
        return [round(100 * end, 2) for end in entry["top1_interval"]]
    sd = entry["top1"]["sd"]
    return None if sd is None else round(100 * sd, 2)


COLUMNS = (
    Column("method", "method", "text", lambda _b, line, _e: line.method, filtered=True),
    Column("adapter", "adapter", "text", lambda _b, line, _e: line.adapter, "what used the test images", True),
    Column("shift", "shift", "text", lambda _b, _l, entry: entry["shift"], "the test set", True),
    Column("top1", "top-1 %", "percent", _mean("top1"), "accuracy, mean over train seeds"),
    Column("spread", "spread", "spread", _spread, "± standard deviation over train seeds; 95 % interval for one seed"),
    Column("subset", "subset sd", "percent", lambda _b, _l, e: e["subset_sd"], "over redraws of the test set, points"),
    Column(
        "expected",
        "expected %",
        "percent",
        _mean("expected_top1"),
        "exact mean over all test sets of this prior, where nothing adapts",
    ),
    Column(
        "delta", "vs mean", "points", _mean("delta_to_mean"), "points against no adaptation; ! more than the interval"
    ),
    Column("many", "many", "percent", _mean("many"), "classes with more than 100 training images"),
    Column("medium", "med", "percent", _mean("medium"), "classes with 20 to 100 training images"),
    Column("few", "few", "percent", _mean("few"), "classes with fewer than 20 training images"),
    Column("ece", "ECE %", "percent", _mean("ece"), "expected calibration error"),
    Column("nll", "NLL", "number", _mean("nll"), "negative log likelihood, nats"),
    Column("tv", "TV train", "number", lambda _b, _l, e: e["tv_train_test"], "from training to test prior"),
    Column("tv_pred", "TV pred", "number", _mean("tv_predicted_test"), "from predicted labels to test prior"),
    Column("tv_est", "TV est", "number", _mean("tv_estimate_test"), "from estimated to true test prior"),
    Column("knew", "knew", "text", lambda _b, _l, entry: knew(entry), "what the row used beyond the training set"),
    Column("prior", "prior access", "text", lambda _b, _l, e: e["prior_access"], "the test prior", True),
    Column("labels", "label access", "text", lambda _b, _l, e: e["label_access"], "labels beyond training", True),
    Column("test", "test access", "text", lambda _b, _l, e: e["test_access"], "how test images are seen", True),
    Column("n", "n", "count", lambda _b, _l, entry: entry["n"], "test images"),
    Column("seeds", "seeds", "count", lambda _b, _l, entry: len(entry["train_seeds"]), "train seeds"),
    Column("dataset", "dataset", "text", lambda block, _l, _e: block.rows[0].dataset, "", True),
    Column("setting", "training", "text", lambda block, _l, _e: block.title, "dataset, training set and recipe", True),
)

ORDERS = {"prior": PRIORS, "labels": LABELS, "test": TESTS}


def board(blocks: Sequence[Block]) -> Board:
    """Return the columns, and one row for each entry.

    A text is its place in the `values` of its column, a number is rounded for display. The last cell of a row tells
    whether adaptation hurts (1) and whether the row was told the truth (2).
    """
    entries = [(block, line, entry) for block in blocks for line in block.lines for entry in line.entries.values()]
    order = list(SITUATIONS)
    entries.sort(
        key=lambda place: (
            blocks.index(place[0]),
            shift_order(place[2]["shift"]),
            order.index(place[1].situation),
            -place[2]["top1"]["mean"],
            place[1].name,
        )
    )
    columns: list[dict[str, Any]] = []
    cells: list[list[Any]] = [[] for _ in entries]
    for column in COLUMNS:
        cell_values = [column.value(*entry) for entry in entries]
        description: dict[str, Any] = {name: getattr(column, name) for name in ("key", "label", "kind", "title")}
        if column.filtered:
            description["filter"] = True
        if column.kind == "text":
            texts = sorted(set(cell_values), key=lambda value: _text_order(column.key, str(value)))
            description["values"] = texts
            cell_values = [texts.index(value) for value in cell_values]
        for row, value in zip(cells, cell_values, strict=True):
            row.append(_rounded(column.kind, value))
        columns.append(description)
    for row, (_, line, entry) in zip(cells, entries, strict=True):
        row.append(int(entry["adaptation_hurts"]) + 2 * (line.situation == "told"))
    return {"columns": columns, "rows": cells}


def _rounded(kind: str, value: Value) -> Value:
    if not isinstance(value, float):
        return value
    return round(100 * value, 2) if kind in ("percent", "points") else round(value, 4)


def _text_order(key: str, value: str) -> tuple[Any, ...]:
    if key == "shift":
        return shift_order(value)
    order = ORDERS.get(key, ())
    return (order.index(value) if value in order else len(order), value)
