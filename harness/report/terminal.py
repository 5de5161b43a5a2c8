"""The answer as a short table for a terminal."""

from harness.report.choice import Choice
from harness.report.parts import Report

WIDTH = 100


def render(report: Report) -> str:
    """For each block and situation: best mean, best worst shift, smallest largest regret; at most WIDTH wide."""
    parts = []
    for chapter in report.chapters:
        lines = [chapter.block.title]
        for choice in chapter.choices:
            lines += ["", *_choice(choice)]
        parts.append("\n".join(lines))
    return "\n\n\n".join(parts)


def _choice(choice: Choice) -> list[str]:
    lines = [f"-- {choice.title}"]
    names = max(len(card.winner) for card in choice.cards)
    for card in choice.cards:
        lines.append(_cut(f"{card.criterion:<24}{card.winner:<{min(names, 40)}}  {card.value:>11}  {card.detail}"))
    return lines


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
