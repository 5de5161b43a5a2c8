"""Tables for a terminal, made from leaderboard entries alone: one shift in detail, or several side by side."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.board.schema import Average, Entry
from harness.evidence.access import Access
from harness.show.access import heading, knew
from harness.show.settings import imbalance_words
from harness.show.shifts import short
from harness.show.text import aligned, counted, interval, mean_percent, percent


def seen_note(entries: Iterable[Mapping[str, Any]]) -> str:
    """Say how many labelled source images were trained on, and what that does; empty if none were."""
    counts = sorted({(entry["source_seen"], entry["source_n"]) for entry in entries if entry["source_seen"]})
    if not counts:
        return ""
    shares = ", ".join(f"{seen:,} of {n:,}" for seen, n in counts)
    return f"{shares} labelled source images were trained on: a model is surer of those than of new ones."


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
    Column("top-1 %", lambda e: mean_percent(e["top1"])),
    Column("interval", lambda e: interval(e, "top1"), dropped=4),
    Column("many", lambda e: mean_percent(e["many"]), dropped=5),
    Column("med", lambda e: mean_percent(e["medium"]), dropped=5),
    Column("few", lambda e: mean_percent(e["few"]), dropped=5),
    Column("vs mean", lambda e: _delta(e)),
    Column("TV pred", lambda e: _distance(e["tv_predicted_test"]), dropped=2),
    Column("TV est", lambda e: _distance(e["tv_estimate_test"]), dropped=1),
    Column("knew", lambda e: knew(e), left=True, dropped=3),
)


PAPER = Column("paper", lambda e: percent(e["reported"]["value"]) if e["reported"] else "")


def render(entries: Sequence[Entry], shifts: Sequence[str], width: int | None = None, top: int = 0) -> str:
    """Return the table: one shift in detail, several side by side; at most `width` characters wide if given.

    top: lines of each block of access; 0 = all.
    """
    if not entries:
        return "no rows"
    if len(shifts) == 1:
        return detailed(entries, width, top)
    return side_by_side(entries, shifts, width, top)


def detailed(entries: Iterable[Entry], width: int | None = None, top: int = 0) -> str:
    """Return a block for each shift: method x adapter with intervals, shot groups, distances and what each row knew."""
    blocks, shown = [], list(entries)
    for shift, group in _by_shift(shown).items():
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
    """Return the top-1 of each method x adapter on several shifts, with the mean over them."""
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
        return Column(short(shift), lambda e: mean_percent(on(e, shift)["top1"]) + _mark(on(e, shift)))

    columns = [*DETAILS[:2], *map(column, shifts), Column("mean", lambda e: percent(mean(e)))]
    body = _table(columns, heads, lambda e: -mean(e), width, top)
    note = "! = adaptation loses more than the interval. Compare rows within one block of access only."
    return "\n".join(filter(None, [f"{_title(heads)}, top-1 %\n{body}\n\n{note}", seen_note(heads)]))


def _title(group: Sequence[Entry]) -> str:
    """Return in words what the entries share: data, training set, recipes, number of train seeds."""
    first = group[0]
    seeds = max(len(entry["train_seeds"]) for entry in group)
    recipes = sorted({entry["recipe"] for entry in group if entry["recipe"]})
    parts = [
        first["dataset"],
        imbalance_words(first["train_imbalance"]),
        *(["recipe " + ", ".join(recipes)] if recipes else []),
        counted(seeds, "train seed"),
    ]
    return ", ".join(parts)


def _table(
    columns: Sequence[Column], entries: Sequence[Entry], rank: Callable[[Entry], float], width: int | None, top: int
) -> str:
    """Return aligned text, a block for each class of access.

    A block has its `top` best (0: all) in order. The text is narrowed towards `width`.
    """
    blocks: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda e: Access.of(e).rank):
        blocks[heading(Access.of(entry))].append(entry)
    lines: list[str | list[str]] = []
    for title, block in blocks.items():
        block.sort(key=rank)
        shown = block[:top] if top else block
        lines.append(f"-- {title}" + (f" (best {len(shown)} of {len(block)})" if len(shown) < len(block) else ""))
        lines += [[column.cell(entry) for column in columns] for entry in shown]
    return "\n".join(_fitted(columns, lines, width))


def _fitted(columns: Sequence[Column], lines: Sequence[str | list[str]], width: int | None) -> list[str]:
    """Return aligned lines without the columns that go first where a terminal is narrow."""
    for least in sorted({column.dropped for column in columns}):
        # 0 = never dropped, so all columns are there at first.
        kept = [place for place, column in enumerate(columns) if not 0 < column.dropped <= least]
        text = aligned(
            [columns[place].heading for place in kept],
            [line if isinstance(line, str) else [line[place] for place in kept] for line in lines],
            [columns[place].left for place in kept],
        )
        if width is None or max(len(line) for line in text if not line.startswith("-- ")) <= width:
            break
    return text


def _distance(summary: Average | None) -> str:
    return "-" if summary is None else f"{summary['mean']:.3f}"


def _delta(entry: Entry) -> str:
    return "" if entry["adapter"] == "mean" else f"{100 * entry['delta_to_mean']['mean']:+.1f}{_mark(entry)}"


def _mark(entry: Entry) -> str:
    return "!" if entry["adaptation_hurts"] else ""


def _by_shift(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry["shift"], []).append(entry)
    return groups
