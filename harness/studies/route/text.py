"""The tables of a routing study for a terminal."""

import statistics
from collections.abc import Sequence

from harness.show.settings import Setting
from harness.show.shifts import short
from harness.show.text import aligned, counted, mean_of, percent
from harness.studies.route.rows import MeasuredRow, RouteRow

LEGEND = """\
* = the released code's threshold; vs all: points against running every expert; experts: mean number run on an image;
stop after k: share of images in percent; MACs: millions an image, counting the experts that were run and no gate."""


def render(rows: Sequence[RouteRow], shifts: Sequence[str]) -> str:
    """Return each threshold by method, means over shifts and seeds; then the released threshold shift by shift."""
    if not rows:
        return "no routes"
    several = len(shifts) > 1
    over = f"means over {len(shifts)} shifts" if several else f"test {rows[0].shift}"
    title = f"{Setting(tuple(rows)).title}, {over}"
    groups = {method: [row for row in rows if row.method == method] for method in dict.fromkeys(r.method for r in rows)}
    thresholds = {
        name: [
            (f"{value:g}{'*' if group[0].published else ''}", group)
            for value in sorted({row.threshold for row in own})
            for group in [[row for row in own if row.threshold == value]]
        ]
        for name, own in groups.items()
    }
    blocks = [title, "", *_table("threshold", thresholds), ""]
    if several:
        by_shift = {
            name: [(short(shift), [row for row in own if row.published and row.shift == shift]) for shift in shifts]
            for name, own in groups.items()
        }
        blocks += ["at the released code's threshold, shift by shift", "", *_table("shift", by_shift), ""]
    return "\n".join([*blocks, LEGEND])


def _table(first: str, groups: dict[str, list[tuple[str, list[RouteRow]]]]) -> list[str]:
    experts = max(rows[0].experts for lines in groups.values() for _, rows in lines)
    header = [first, "top-1", "many", "med", "few", "vs all", "experts", *(f"stop {k}" for k in range(1, experts + 1))]
    lines: list[str | list[str]] = []
    for method, of_method in groups.items():
        lines.append(f"-- {method}")
        lines += [[label, *_cells(rows, experts)] for label, rows in of_method]
    return aligned([*header, "MACs"], lines)


def _cells(rows: Sequence[RouteRow], experts: int) -> list[str]:
    means = [percent(mean_of([getattr(row, name) for row in rows])) for name in ("top1", "many", "medium", "few")]
    gained = statistics.fmean(row.top1 - row.top1_all for row in rows)
    shares = [
        percent(statistics.fmean(row.shares[k] for row in rows)) if k < rows[0].experts else "" for k in range(experts)
    ]
    macs = mean_of([row.macs for row in rows])
    return [
        *means,
        f"{100 * gained:+.1f}",
        f"{statistics.fmean(row.mean_experts for row in rows):.2f}",
        *shares,
        "-" if macs is None else f"{macs / 1e6:.2f}",
    ]


def render_measured(rows: Sequence[MeasuredRow]) -> str:
    """Return the wall time of skipping beside that of all experts, a line for each checkpoint and shift."""
    header = ["method", "shift", "images", "experts", "all ms", "skipping ms", "faster", "CPU", "MACs", "agreed"]
    lines = [
        [
            f"{row.method} s{row.train_seed}",
            short(row.shift),
            f"{row.images:,}",
            f"{row.mean_experts:.2f}",
            _milliseconds(row.seconds_all),
            _milliseconds(row.seconds),
            f"{row.faster:.2f}",
            f"{row.cpu_ratio:.2f}",
            "-" if row.macs is None or row.macs_all is None else f"{row.macs_all / row.macs:.2f}",
            percent(row.agreed),
        ]
        for row in rows
    ]
    first = rows[0]
    title = (
        f"measured on {first.device}, {counted(first.threads, 'thread')}, "
        f"batches of {first.batch}, {len(first.seconds)} repeats: median (least-most) of the forward passes"
    )
    note = (
        "faster: wall time of all experts over that of skipping; CPU, MACs: the same of this process's processor time "
        "and\nof multiply-accumulates; agreed: images in percent shown to as many experts as the stored gate logits say"
    )
    return "\n".join([title, "", *aligned(header, lines, left=2), "", note])


def _milliseconds(seconds: Sequence[float]) -> str:
    low, middle, high = (1000 * value for value in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle:.0f} ({low:.0f}-{high:.0f})"
