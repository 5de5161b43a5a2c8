"""Tables for a terminal, made from leaderboard entries alone: one shift in detail, or several side by side."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Entry = dict[str, Any]

ACCESS = (
    ("one image at a time, no test prior", lambda e: _access(e) == ("none", "none", "inductive")),
    ("the unlabelled test set", lambda e: e["prior_access"] != "oracle" and e["label_access"] != "test"),
    ("UPPER REFERENCES, told the truth", lambda e: True),
)
"""Classes of access, in the order in which a table shows them; an entry belongs to the first that fits."""


def knew(entry: Entry) -> str:
    """What a row knew beyond the training set, in a few words."""
    if entry["label_access"] == "test":
        return "test labels"
    if entry["prior_access"] == "oracle":
        return "true test prior"
    parts = {"inductive": [], "transductive": ["test images"], "stream": ["test stream"]}[entry["test_access"]]
    if entry["label_access"] == "source":
        parts = [*parts, f"{entry['source_n']} source labels"]
    return ", ".join(parts) or "nothing"


def render(entries: Sequence[Entry], shifts: Sequence[str]) -> str:
    """The table for one shift in detail, for several side by side."""
    if not entries:
        return "no rows"
    return detailed(entries) if len(shifts) == 1 else side_by_side(entries, shifts)


def detailed(entries: Iterable[Entry]) -> str:
    """One block a shift: method x adapter with intervals, shot groups, distances and what each row knew."""
    blocks = []
    for shift, group in _by(entries, "shift").items():
        first = group[0]
        seeds = max(len(entry["train_seeds"]) for entry in group)
        title = (
            f"{first['dataset']}, train imbalance {_number(first['train_imbalance'])}, test {shift}: "
            f"n = {first['n']:,}, "
            f"TV(train, test) = {first['tv_train_test']:.3f}, recipe {first['recipe'] or '-'}, "
            f"{seeds} train seed{'s' if seeds > 1 else ''}"
        )
        body = _rows(
            ["method", "adapter", "top-1 %", "interval", "many", "med", "few", "vs mean", "TV pred", "TV est", "knew"],
            group,
            lambda e: [
                e["method"],
                e["adapter"],
                _percent(e["top1"]["mean"]),
                _interval(e),
                *(_percent(e[name]["mean"]) if e[name] else "-" for name in ("many", "medium", "few")),
                ""
                if e["adapter"] == "mean"
                else f"{100 * e['delta_to_mean']['mean']:+.1f}" + "!" * e["adaptation_hurts"],
                f"{e['tv_predicted_test']['mean']:.3f}",
                f"{e['tv_estimate_test']['mean']:.3f}" if e["tv_estimate_test"] else "-",
                knew(e),
            ],
            lambda e: -e["top1"]["mean"],
        )
        blocks.append(title + "\n" + body)
    return "\n\n".join(blocks) + "\n\n" + LEGEND


LEGEND = (
    "interval: 95% Wilson for one train seed, ± standard deviation over several; vs mean: points gained over no\n"
    "adaptation on the same images (! = loses more than the interval); TV pred, TV est: total variation between\n"
    "predicted labels, or the estimated test prior, and the truth. Compare rows within one block of access only."
)


def side_by_side(entries: Iterable[Entry], shifts: Sequence[str]) -> str:
    """Top-1 of each method x adapter on several shifts, with the mean over them."""
    lines: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in entries:
        lines.setdefault((entry["method"], entry["adapter"]), {})[entry["shift"]] = entry
    complete = [line for line in lines.values() if all(shift in line for shift in shifts)]

    def mean(line: dict[str, Entry]) -> float:
        return sum(line[shift]["top1"]["mean"] for shift in shifts) / len(shifts)

    representative = {id(line[shifts[0]]): line for line in complete}
    first = complete[0][shifts[0]]
    body = _rows(
        ["method", "adapter", *map(short, shifts), "mean", "knew"],
        [line[shifts[0]] for line in complete],
        lambda e: [
            e["method"],
            e["adapter"],
            *(_percent(representative[id(e)][s]["top1"]["mean"]) + _mark(representative[id(e)][s]) for s in shifts),
            _percent(mean(representative[id(e)])),
            knew(e),
        ],
        lambda e: -mean(representative[id(e)]),
    )
    seeds = len(first["train_seeds"])
    title = (
        f"{first['dataset']}, train imbalance {_number(first['train_imbalance'])}, recipe {first['recipe'] or '-'}, "
        f"top-1 % over {seeds} train seed{'s' if seeds > 1 else ''}"
    )
    note = "! = adaptation loses more than the interval. Compare rows within one block of access only."
    return f"{title}\n{body}\n\n{note}"


def short(shift: str) -> str:
    """A column's heading: F50, U, B50 for the published kinds, the canonical text for others."""
    kind, _, rest = shift.partition("-")
    letter = {"forward_lt": "F", "backward_lt": "B", "uniform": "U"}.get(kind)
    return shift if letter is None else letter + rest


def _rows(
    headings: list[str],
    entries: Sequence[Entry],
    cells: Callable[[Entry], list[str]],
    rank: Callable[[Entry], float],
) -> str:
    """Aligned text, a block for each class of access, best first within a block."""
    left = list(entries)
    blocks = []
    for title, belongs in ACCESS:
        block = sorted((entry for entry in left if belongs(entry)), key=rank)
        left = [entry for entry in left if not belongs(entry)]
        if block:
            blocks.append((title, [cells(entry) for entry in block]))
    table = [headings, *(row for _, body in blocks for row in body)]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]

    def line(row: list[str]) -> str:
        texts = [
            text.ljust(width) if column < 2 or column == len(row) - 1 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(texts).rstrip()

    lines = [line(headings)]
    for title, body in blocks:
        lines += [f"-- {title}", *map(line, body)]
    return "\n".join(lines)


def _interval(entry: Entry) -> str:
    if entry["top1_interval"] is not None:
        low, high = entry["top1_interval"]
        return f"{100 * low:.1f}-{100 * high:.1f}"
    sd = entry["top1"]["sd"]
    return "" if sd is None else f"± {100 * sd:.1f}"


def _mark(entry: Entry) -> str:
    return "!" if entry["adaptation_hurts"] else ""


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    return "natural" if value is None else f"{value:g}"


def _access(entry: Entry) -> tuple[str, str, str]:
    return entry["prior_access"], entry["label_access"], entry["test_access"]


def _by(entries: Iterable[Entry], key: str) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry[key], []).append(entry)
    return groups
