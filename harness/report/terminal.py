"""The answer as a short table for a terminal."""

import textwrap

from harness.report.choice import NO_ANSWER, Choice
from harness.report.parts import Report

WIDTH = 100


def render(report: Report) -> str:
    """For each block: what to choose in words, then the three criteria of each access class; at most WIDTH wide."""
    parts = []
    for chapter in report.chapters:
        lines = [_cut(chapter.block.title)]
        if not chapter.choices.by_class:
            lines += textwrap.wrap(NO_ANSWER, WIDTH)
        for choice in chapter.choices.by_situation:
            lines += ["", *textwrap.wrap(choice.sentence, WIDTH, initial_indent="* ", subsequent_indent="  ")]
        for choice in chapter.choices.by_class:
            lines += ["", *_choice(choice)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _choice(choice: Choice) -> list[str]:
    widest = min(36, max(len(card.winner) for card in choice.cards))
    return [
        _cut(f"-- {choice.title}; {choice.over}"),
        *(
            _cut(f"{card.criterion:<23}  {card.winner:<{widest}}  {card.value:>11}  {card.detail}")
            for card in choice.cards
        ),
    ]


def _cut(line: str) -> str:
    line = line.rstrip()
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
