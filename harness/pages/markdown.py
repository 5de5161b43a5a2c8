"""The report as Markdown: the same sections, tables as pipes, pictures as links to their files."""

import re

from harness.pages.parts import Report
from harness.pages.sections.choice import NO_ANSWER, Choices
from harness.pages.words import READING
from harness.show import cells
from harness.show.section import Section, Table
from shifts.common.files import file_name

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#!~$&])")


def render(report: Report) -> str:
    """Return the whole report; figures lie under `figures/`."""
    lines = ["# Report"]
    for chapter in report.chapters:
        lines += [f"## {escape(chapter.block.title)}", "### The answer"]
        lines += _answer(chapter.choices)
        for section in chapter.sections:
            lines += _section(section, "###")
    for section in report.further:
        lines += _section(section, "##")
    lines += ["## How to read this", *(f"- **{escape(term)}**: {escape(text)}" for term, text in READING)]
    # List items stand line by line, everything else apart.
    text = "\n\n".join(lines)
    return re.sub(r"(?m)^(- .*)\n\n(?=- )", r"\1\n", text) + "\n"


def escape(text: str) -> str:
    """Return `text` on one line, without meaning to Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _answer(choices: Choices) -> list[str]:
    if not choices.by_class:
        return [escape(NO_ANSWER)]
    lines = table_lines(choices.situations)
    for choice in choices.by_situation:
        cards = [
            f"- {card.criterion}: **{escape(card.winner)}**, {escape(f'{card.value} {card.detail}'.strip())}"
            for card in choice.cards
        ]
        lines += [f"#### {escape(f'{choice.title}, over {choice.over}')}", escape(choice.sentence)]
        lines += [*map(escape, choice.notes), *cards, *table_lines(choice.table)]
    return [*lines, "#### By access class", *table_lines(choices.classes)]


def _section(section: Section, level: str) -> list[str]:
    lines = [f"{level} {escape(section.title)}", escape(section.lead)]
    for picture in section.pictures:
        file = f"figures/{file_name(picture.name)}.png"
        lines += [f"![{escape(picture.alternative)}]({file})", f"*{escape(picture.caption)}*"]
    for table in section.tables:
        lines += table_lines(table)
    return lines


def table_lines(table: Table) -> list[str]:
    """Return a table as a bold caption and pipes."""
    numeric = [
        all(row[place] is None or isinstance(row[place], int | float) for row in table.rows)
        for place in range(len(table.columns))
    ]
    body = [
        _line([cells.text(heading, value) for heading, value in zip(table.columns, row, strict=True)])
        for row in table.rows
    ]
    marks = "|" + "|".join(" ---: " if right else " --- " for right in numeric) + "|"
    return [f"**{escape(table.caption)}**", "\n".join([_line(table.columns), marks, *body])]


def _line(texts: "list[str] | tuple[str, ...]") -> str:
    return "| " + " | ".join(escape(text) for text in texts) + " |"
