"""Tables for a terminal, made from leaderboard entries alone: one shift in detail, or several side by side."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.show.access import ACCESS, Entry, knew
from harness.show.shifts import short


def seen_note(found: Iterable[Entry]) -> str:
    """How many labelled source images were trained on, and what that does; empty where none were."""
    counts = sorted({(entry["source_seen"], entry["source_n"]) for entry in found if entry["source_seen"]})
    if not counts:
        return ""
    said = ", ".join(f"{seen:,} of {n:,}" for seen, n in counts)
    return f"{said} labelled source images were trained on: a model is surer of those than of new ones."


@dataclass(frozen=True)
class Column:
    """A column of a table: heading, cell text of an entry, and how early it goes where a terminal is too narrow."""

    heading: str
    cell: Callable[[Entry], str]
    left: bool = False
    dropped: int = 0
    """0 = never dropped; 1 goes first."""


DETAILS = (
    Column("method", lambda e: e["method"], left=True),
    Column("adapter", lambda e: e["adapter"], left=True),
    Column("top-1 %", lambda e: _percent(e["top1"]["mean"])),
    Column("interval", lambda e: _interval(e), dropped=4),
    Column("many", lambda e: _optional(e["many"], 1), dropped=5),
    Column("med", lambda e: _optional(e["medium"], 1), dropped=5),
    Column("few", lambda e: _optional(e["few"], 1), dropped=5),
    Column("vs mean", lambda e: _delta(e)),
    Column("TV pred", lambda e: f"{e['tv_predicted_test']['mean']:.3f}", dropped=2),
    Column("TV est", lambda e: _optional(e["tv_estimate_test"], 3), dropped=1),
    Column("knew", lambda e: knew(e), left=True, dropped=3),
)


PAPER = Column("paper", lambda e: _percent(e["reported"]["value"]) if e["reported"] else "")


def render(entries: Sequence[Entry], shifts: Sequence[str], width: int | None = None, top: int = 0) -> str:
    """The table for one shift in detail, for several side by side; at most `width` characters wide where given.

    top: lines of each block of access; 0 = all.
    """
    if not entries:
        return "no rows"
    if len(shifts) == 1:
        return detailed(entries, width, top)
    return side_by_side(entries, shifts, width, top)


def detailed(entries: Iterable[Entry], width: int | None = None, top: int = 0) -> str:
    """One block a shift: method x adapter with intervals, shot groups, distances and what each row knew."""
    blocks, shown = [], list(entries)
    for shift, group in _by(shown, "shift").items():
        first = group[0]
        title = f"{_title(group)}\ntest {shift}: n = {first['n']:,}, TV(train, test) = {first['tv_train_test']:.3f}"
        columns = [*DETAILS, PAPER] if any(entry["reported"] for entry in group) else DETAILS
        blocks.append(title + "\n" + _table(columns, group, lambda e: -e["top1"]["mean"], width, top))
    note = seen_note(shown)
    return "\n\n".join(blocks) + "\n\n" + "\n".join(filter(None, [LEGEND, note]))


LEGEND = """\
interval: 95% Wilson for one train seed, ± standard deviation over several; vs mean: points gained over no adaptation
on the same images (! = loses more than the interval); TV pred, TV est: total variation between the truth and the
predicted labels, or the estimated test prior. Compare rows within one block of access only."""


def side_by_side(entries: Iterable[Entry], shifts: Sequence[str], width: int | None = None, top: int = 0) -> str:
    """Top-1 of each method x adapter on several shifts, with the mean over them."""
    lines: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in entries:
        lines.setdefault((entry["method"], entry["adapter"]), {})[entry["shift"]] = entry
    complete = {key: line for key, line in lines.items() if all(shift in line for shift in shifts)}
    heads = [line[shifts[0]] for line in complete.values()]

    def on(entry: Entry, shift: str) -> Entry:
        return complete[entry["method"], entry["adapter"]][shift]

    def mean(entry: Entry) -> float:
        return sum(on(entry, shift)["top1"]["mean"] for shift in shifts) / len(shifts)

    def column(shift: str) -> Column:
        return Column(short(shift), lambda e: _percent(on(e, shift)["top1"]["mean"]) + _mark(on(e, shift)))

    columns = [*DETAILS[:2], *map(column, shifts), Column("mean", lambda e: _percent(mean(e)))]
    body = _table(columns, heads, lambda e: -mean(e), width, top)
    note = "! = adaptation loses more than the interval. Compare rows within one block of access only."
    return "\n".join(filter(None, [f"{_title(heads)}, top-1 %\n{body}\n\n{note}", seen_note(heads)]))


def _title(group: Sequence[Entry]) -> str:
    """What the entries share: data, training set, recipes, number of train seeds."""
    first = group[0]
    seeds = max(len(entry["train_seeds"]) for entry in group)
    recipes = sorted({entry["recipe"] for entry in group if entry["recipe"]})
    parts = [
        first["dataset"],
        "natural train counts" if first["train_imbalance"] is None else f"train imbalance {first['train_imbalance']:g}",
        *(["recipe " + ", ".join(recipes)] if recipes else []),
        f"{seeds} train seed{'s' if seeds > 1 else ''}",
    ]
    return ", ".join(parts)


def _table(
    columns: Sequence[Column], entries: Sequence[Entry], rank: Callable[[Entry], float], width: int | None, top: int
) -> str:
    """Aligned text, a block for each class of access, its `top` best (0: all) in order; narrowed towards `width`."""
    left = list(entries)
    blocks = []
    for title, belongs in ACCESS:
        block = sorted((entry for entry in left if belongs(entry)), key=rank)
        left = [entry for entry in left if not belongs(entry)]
        if block:
            shown_of = block[:top] if top else block
            title += f" (best {len(shown_of)} of {len(block)})" if len(shown_of) < len(block) else ""
            blocks.append((title, [[column.cell(entry) for column in columns] for entry in shown_of]))
    widths = [
        max(len(column.heading), *(len(row[number]) for _, body in blocks for row in body))
        for number, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    for drop in sorted({column.dropped for column in columns if column.dropped}):
        if width is None or sum(widths[number] + 2 for number in shown) - 2 <= width:
            break
        shown = [number for number in shown if columns[number].dropped != drop]

    def line(row: Sequence[str]) -> str:
        texts = [
            row[number].ljust(widths[number]) if columns[number].left else row[number].rjust(widths[number])
            for number in shown
        ]
        return "  ".join(texts).rstrip()

    lines = [line([column.heading for column in columns])]
    for title, body in blocks:
        lines += [f"-- {title}", *map(line, body)]
    return "\n".join(lines)


def _optional(summary: Entry | None, digits: int) -> str:
    """A mean that may be absent: percent with one digit, or a distance with three."""
    if summary is None:
        return "-"
    return _percent(summary["mean"]) if digits == 1 else f"{summary['mean']:.{digits}f}"


def _delta(entry: Entry) -> str:
    return "" if entry["adapter"] == "mean" else f"{100 * entry['delta_to_mean']['mean']:+.1f}{_mark(entry)}"


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


def _by(entries: Iterable[Entry], key: str) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry[key], []).append(entry)
    return groups
