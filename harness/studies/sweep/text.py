"""The tables of a preference sweep for a terminal."""

from collections.abc import Callable, Sequence

from harness.show.settings import named_recipe
from harness.show.shifts import short
from harness.show.text import aligned, mean_of, percent, spread
from harness.studies.sweep.rows import CHOICES, Sweep

WIDTH = 100
LEGEND = """\
control: Spearman correlation of (alpha_backward - alpha_forward) with (few - many) over the lattice; many, few: lowest
and highest accuracy that the lattice reaches; volume: hypervolume of the front in (many, medium, few). centre: equal
shares; corner: the expert made for the shift; stability, em: chosen without labels, by the agreement of two views and
by EM's estimate of the test prior; best: chosen with the test labels, an upper reference; regret: points below best."""


def render(sweeps: Sequence[Sweep], shifts: Sequence[str], width: int = WIDTH) -> str:
    """Control by method, then top-1 of each way of choosing, shift by shift where that fits in `width`."""
    if not sweeps:
        return "no sweeps"
    first = sweeps[0].first
    seeds = len({sweep.first.train_seed for sweep in sweeps})
    points = len(sweeps[0].lattice)
    title = (
        f"{first.dataset}, {first.train_n:,} training images, {named_recipe(first.recipe)}, "
        f"{seeds} train seed{'s' if seeds > 1 else ''}, {len(shifts)} shift{'s' if len(shifts) > 1 else ''}, "
        f"{points} preferences"
    )
    methods = by_method(sweeps)
    header = ["method", "kind", "control", "many %", "few %", "volume"]
    lines = [[name, group[0].first.kind, *_reached(group)] for name, group in methods.items()]
    blocks = [title, "", *aligned(header, lines, left=2), ""]
    return "\n".join([*blocks, *_choices(methods, shifts, width), "", LEGEND])


def by_method(sweeps: Sequence[Sweep]) -> dict[str, list[Sweep]]:
    """Sweeps by method, in the order in which methods are first met."""
    groups: dict[str, list[Sweep]] = {}
    for sweep in sweeps:
        groups.setdefault(sweep.first.method, []).append(sweep)
    return groups


def by_seed(sweeps: Sequence[Sweep], value: Callable[[Sweep], float | None]) -> list[float | None]:
    """For each checkpoint of one method, the mean over its shifts of a value; None where a shift has none."""
    groups: dict[str, list[float | None]] = {}
    for sweep in sweeps:
        groups.setdefault(sweep.first.checkpoint_sha256, []).append(value(sweep))
    return [mean_of(values) for values in groups.values()]


def _reached(group: Sequence[Sweep]) -> list[str]:
    cells = [spread(by_seed(group, lambda sweep: sweep.control), digits=2)]
    for name in ("many", "few"):
        ends = [mean_of(by_seed(group, lambda s, n=name, e=end: _end(s, n, e))) for end in (0, 1)]  # type: ignore[misc]
        cells.append("-" if None in ends else "-".join(map(percent, ends)))
    return [*cells, spread(by_seed(group, lambda sweep: sweep.volume), digits=3)]


def _end(sweep: Sweep, name: str, end: int) -> float | None:
    reach = sweep.reach(name)
    return None if reach is None else reach[end]


def _choices(methods: dict[str, list[Sweep]], shifts: Sequence[str], width: int) -> list[str]:
    """Top-1 in percent of each way of choosing, means over train seeds."""

    def table(shown: Sequence[str]) -> list[str]:
        lines: list[str | list[str]] = []
        for name, group in methods.items():
            lines.append(f"-- {name} ({group[0].first.kind})")
            usable = [choice for choice in CHOICES if all(choice in sweep.chosen for sweep in group)]
            lines += [[choice, *_line(group, choice, shown)] for choice in usable]
        return aligned(["chosen by", *map(short, shown), "mean", "regret"], lines)

    full = table(shifts)
    return full if max(map(len, full)) <= width else table([])


def _line(group: Sequence[Sweep], choice: str, shown: Sequence[str]) -> list[str]:
    cells = [
        percent(mean_of([sweep.chosen[choice].top1 for sweep in group if sweep.first.shift == shift]))
        for shift in shown
    ]
    mean = mean_of([sweep.chosen[choice].top1 for sweep in group])
    regret = "" if choice == "best" else spread(by_seed(group, lambda sweep: sweep.regret(choice)), 100)
    return [*cells, percent(mean), regret]
