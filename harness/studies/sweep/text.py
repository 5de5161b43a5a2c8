"""The tables of a preference sweep for a terminal."""

from collections.abc import Sequence

from harness.show.settings import Setting
from harness.show.shifts import short
from harness.show.text import aligned, counted, mean_of, percent, spread
from harness.studies.sweep.rows import Sweep
from harness.studies.sweep.settings import by_method, by_seed, reached, top1, usable

WIDTH = 100
LEGEND = """\
control: Spearman correlation of (alpha_backward - alpha_forward) with (few - many) over the lattice; many, few: lowest
and highest accuracy that the lattice reaches; volume: hypervolume of the front in (many, medium, few). centre: equal
shares; corner: the expert made for the shift; stability, em: chosen without labels, by the agreement of two views and
by EM's estimate of the test prior; best: chosen with the test labels, an upper reference; regret: points below best."""


def render(sweeps: Sequence[Sweep], shifts: Sequence[str], width: int = WIDTH) -> str:
    """Return control by method, then top-1 of each way of choosing, shift by shift if that fits in `width`."""
    if not sweeps:
        return "no sweeps"
    setting = Setting(tuple(sweep.first for sweep in sweeps))
    points = len(sweeps[0].lattice)
    title = f"{setting.title}, {counted(len(shifts), 'shift')}, {points} preferences"
    methods = by_method(sweeps)
    header = ["method", "kind", "control", "many %", "few %", "volume"]
    lines = [[name, group[0].first.kind, *_reached(group)] for name, group in methods.items()]
    blocks = [title, "", *aligned(header, lines, left=2), ""]
    return "\n".join([*blocks, *_choices(methods, shifts, width), "", LEGEND])


def _reached(group: Sequence[Sweep]) -> list[str]:
    ends = [reached(group, name) for name in ("many", "few")]
    return [
        spread(by_seed(group, lambda sweep: sweep.control), digits=2),
        *("-" if None in pair else "-".join(map(percent, pair)) for pair in ends),
        spread(by_seed(group, lambda sweep: sweep.volume), digits=3),
    ]


def _choices(methods: dict[str, list[Sweep]], shifts: Sequence[str], width: int) -> list[str]:
    """Return the top-1 in percent of each way of choosing, means over train seeds."""

    def table(shown: Sequence[str]) -> list[str]:
        lines: list[str | list[str]] = []
        for name, group in methods.items():
            lines.append(f"-- {name} ({group[0].first.kind})")
            lines += [[choice, *_line(group, choice, shown)] for choice in usable(group)]
        return aligned(["chosen by", *map(short, shown), "mean", "regret"], lines)

    full = table(shifts)
    return full if max(map(len, full)) <= width else table([])


def _line(group: Sequence[Sweep], choice: str, shown: Sequence[str]) -> list[str]:
    mean = mean_of([sweep.chosen[choice].top1 for sweep in group])
    regret = "" if choice == "best" else spread(by_seed(group, lambda sweep: sweep.regret(choice)), 100)
    return [*(percent(top1(group, choice, shift)) for shift in shown), percent(mean), regret]
