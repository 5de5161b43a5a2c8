"""The answer as a short table for a terminal."""

import itertools
import textwrap

from harness.pages.parts import Report
from harness.pages.sections.choice import NO_ANSWER, Choice, Winner, contender_name
from harness.show.shifts import narrow
from harness.show.text import percent

WIDTH = 100
LEGEND = (
    "Top-1 %: mean over the shifts, worst shift, and regret, the largest shortfall on a shift to the best there. "
    "Shown are the best by one of them, of all that need no more than is at hand; more not apart: adjusted p >= .05 "
    "against the best mean. All are on the page."
)


def render(report: Report) -> str:
    """Return what to choose in each situation, and the upper references; at most WIDTH wide."""
    parts = []
    for chapter in report.chapters:
        choices = chapter.choices
        lines = [_cut(chapter.block.title)]
        if not choices.by_class:
            lines += textwrap.wrap(NO_ANSWER, WIDTH)
        shown = [*choices.by_situation, *(choice for choice in choices.by_class if choice.told)]
        for over, group in itertools.groupby(
            sorted(shown, key=lambda choice: choice.order), lambda choice: choice.over
        ):
            lines += ["", _line(f"over {over}", "mean", "worst", "regret", "best in")]
            lines += [line for choice in group for line in _choice(choice)]
        parts.append("\n".join(lines))
    if any(chapter.choices.by_class for chapter in report.chapters):
        parts.append(textwrap.fill(LEGEND, WIDTH))
    return "\n\n".join(parts)


def _choice(choice: Choice) -> list[str]:
    group = f"; {choice.not_apart} more not apart" if choice.not_apart else ""
    return [_cut(f"-- {choice.title}{group}"), *map(_winner, choice.winners)]


def _winner(winner: Winner) -> str:
    best = winner.contender
    return _line(
        contender_name(best),
        percent(best.mean),
        f"{percent(best.worst)} {narrow(best.worst_shift)}",
        f"{percent(best.regret)} {narrow(best.regret_shift)}" if best.regret > 0 else "0.0",
        "all three" if len(winner.best_in) == 3 else ", ".join(winner.best_in),
    )


def _line(name: str, mean: str, worst: str, regret: str, best_in: str) -> str:
    return _cut(f"{name:<32} {mean:>5}  {worst:<21} {regret:<21} {best_in}")


def _cut(line: str) -> str:
    line = line.rstrip()
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
