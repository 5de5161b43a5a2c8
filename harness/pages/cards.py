"""One card for each method and adapter, as Markdown: what its file says, and what the stored rows say of it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean, median

from harness.adapters import ADAPTERS
from harness.board import build as leaderboard
from harness.board.schema import Entry
from harness.pages.markdown import table_lines
from harness.records.rows import Row
from harness.show.section import Table
from harness.show.settings import named_recipe
from harness.show.shifts import read, shift_order
from methods.core.options import docstring
from methods.papers import METHODS
from shifts.common.files import write_text

FILES = ("methods.md", "adapters.md")

HEAD = """\
# Cards of the {what}s

Made by `python -m harness.report --results results/reference --cards docs/cards`; do not edit. Each card is what the
file of the {what} says (paper, equations, departures, failures), then what the reference rows say: {figures}"""
OF_METHODS = (
    "measured beside published figures, mean over train seeds, and what a training cost; without adaptation unless an "
    "adapter is named. Some papers give no figure for these sets."
)
OF_ADAPTERS = (
    "points of top-1 against no adaptation on the same images over models and test sets, where it loses most, and the "
    "median seconds of fitting it to a test set. `sets with an order` are forward, uniform and backward ones."
)


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write the cards into a folder. Returns the files. Raises OSError."""
    kept = {row_id for entry in leaderboard.build(rows)["entries"] for row_id in entry["row_ids"]}
    newest = [row for row in rows if row.row_id in kept]
    texts = (
        _page("method", OF_METHODS, METHODS, newest, _of_method),
        _page("adapter", OF_ADAPTERS, ADAPTERS, newest, _of_adapter),
    )
    for name, text in zip(FILES, texts, strict=True):
        write_text(folder / name, text)
    return [folder / name for name in FILES]


def _page(
    what: str,
    figures: str,
    targets: dict[str, str],
    rows: Sequence[Row],
    tables: Callable[[str, Sequence[Row]], list[Table]],
) -> str:
    lines = [HEAD.format(what=what, figures=figures)]
    lines += [", ".join(f"[{name}](#{name})" for name in targets) + "."]
    for name, target in targets.items():
        lines += [f"## {name}", f"```text\n{docstring(target.partition(':')[0])}\n```"]
        lines += [line for table in tables(name, rows) for line in table_lines(table)]
    return "\n\n".join(lines) + "\n"


def _of_method(name: str, rows: Sequence[Row]) -> list[Table]:
    own = [row for row in rows if row.method.partition(":")[0] == name]
    tables = [_published(own), _cost(own)]
    return [table for table in tables if table.rows]


def _published(rows: Sequence[Row]) -> Table:
    entries: list[Entry] = leaderboard.build(rows)["entries"] if rows else []
    lines = []
    for entry in entries:
        told = entry["reported"]
        if told is not None and "published" in (entry["recipe"] or ""):
            lines.append(
                (
                    f"{entry['method']}, {entry['dataset']}, {named_recipe(entry['recipe'])}",
                    entry["adapter"],
                    entry["shift"],
                    entry["top1"]["mean"],
                    entry["top1"]["n"],
                    told["value"],
                    entry["top1"]["mean"] - told["value"],
                    told["source"],
                )
            )
    lines.sort(key=lambda line: (line[0], line[1], shift_order(line[2])))
    columns = ("setting", "adapter", "shift", "measured %", "seeds", "published %", "difference, points", "source")
    return Table("Measured beside published", columns, tuple(lines))


def _cost(rows: Iterable[Row]) -> Table:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row.adapter == "mean" and row.train_seconds is not None:
            groups[row.method, row.dataset, named_recipe(row.recipe)].append(row)
    lines = tuple(
        (
            ", ".join(key),
            group[0].backbone,
            group[0].parameters,
            None if group[0].macs is None else round(group[0].macs / 1e6),
            round(median(row.train_seconds for row in group if row.train_seconds is not None)),
        )
        for key, group in sorted(groups.items())
    )
    return Table("Cost of a training", ("setting", "network", "parameters", "MACs, millions", "seconds"), lines)


def _of_adapter(name: str, rows: Sequence[Row]) -> list[Table]:
    groups: dict[tuple[str, str], list[tuple[Row, float]]] = defaultdict(list)
    for row in rows:
        if row.adapter.partition(":")[0] == name and row.delta_to_mean is not None and name != "mean":
            kind = "sets with an order" if read(row.shift).traits.letter else "sets without an order"
            groups[f"{row.dataset}, {named_recipe(row.recipe)}", kind].append((row, row.delta_to_mean))
    lines = []
    for key, own in sorted(groups.items()):
        gains = [gain for _, gain in own]
        worst, least = min(own, key=lambda pair: (pair[1], pair[0].row_id))
        where = f"{worst.method} s{worst.train_seed}, {worst.shift}"
        seconds = median(row.adapt_seconds for row, _ in own)
        lines.append((*key, len(own), fmean(gains), sum(gain > 0 for gain in gains) / len(own), least, where, seconds))
    columns = (
        "data",
        "test sets",
        "models x sets",
        "mean gain, points",
        "gains, % of them",
        "largest loss, points",
        "where",
        "seconds",
    )
    return [Table("Against no adaptation", columns, tuple(lines))] if lines else []
