"""Measured figures beside those that a paper, repository or log prints for the same setting."""

from typing import Any

from harness.pages.blocks import Block
from harness.show.cells import points
from harness.show.section import Section, Table
from harness.show.shifts import shift_order


def section(block: Block) -> Section | None:
    """Show every entry with a published figure; None if there is none."""
    rows = []
    for line in block.lines:
        for shift, entry in line.entries.items():
            reported = entry["reported"]
            if reported is None:
                continue
            measured, sd = entry["top1"]["mean"], entry["top1"]["sd"]
            difference = measured - reported["value"]
            rows.append(
                (
                    line.method,
                    line.adapter,
                    shift,
                    measured,
                    sd,
                    entry["top1"]["n"],
                    reported["value"],
                    difference,
                    difference / sd if sd else None,
                    reported["source"],
                    bool(reported["primary"]),
                )
            )
    if not rows:
        return None
    rows.sort(key=lambda row: (row[0], row[1], shift_order(row[2])))
    columns = (
        "method",
        "adapter",
        "shift",
        "measured %",
        "± sd %",
        "seeds",
        "reported %",
        "difference, points",
        "in seed sd",
        "source",
        "authors' own",
    )
    table = Table("Measured and reported, measured - reported", columns, tuple(rows))
    lead = _lead(rows)
    recipe = block.rows[0].recipe
    if recipe != "published":
        lead += f" The recipe here is {recipe or 'unknown'}, not the papers' own."
    return Section("published", "Measured beside reported", lead, (table,))


def _lead(rows: list[tuple[Any, ...]]) -> str:
    differences = sorted(rows, key=lambda row: row[7])
    low, high = differences[0], differences[-1]
    mean = sum(row[7] for row in rows) / len(rows)
    text = (
        f"{len(rows)} results have a published figure; measured minus reported is {points(mean)} points on average, "
        f"from {points(low[7])} ({', '.join(low[:3])}) to {points(high[7])} ({', '.join(high[:3])})."
    )
    scored = [row[8] for row in rows if row[8] is not None]
    if scored:
        near = sum(abs(value) <= 2 for value in scored)
        text += f" {near} of {len(scored)} lie within two standard deviations over train seeds."
    return text
