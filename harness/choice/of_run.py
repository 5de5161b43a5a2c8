"""The answer of one run in three lines: best with nothing, with unlabelled test images, with source labels besides."""

from collections.abc import Sequence

from harness.choice.answers import by_situation
from harness.choice.contenders import Answer
from harness.choice.entrants import contests
from harness.records.rows import Row
from harness.show.cells import percent
from harness.show.text import aligned, counted

SITUATIONS = {
    ("none", "inductive"): "with nothing",
    ("none", "transductive"): "with unlabelled test images",
    ("source", "transductive"): "and labelled source images",
}
"""What a user has, (labels, test images) -> in words; each has what the ones before it have."""


def lines(found: Sequence[Row], shifts: Sequence[str]) -> list[str]:
    """Return the best of each situation over these shifts, of rows of one label an image; nothing for no such rows.

    Raises ValueError for a row whose correctness bits do not fit its draw.
    """
    told = []
    for contest in contests(found, shifts):
        by_access = {(one.access.labels, one.access.test): one for one in by_situation(contest, asked=SITUATIONS)}
        told += [(words, *_best(by_access[given])) for given, words in SITUATIONS.items() if given in by_access]
    over = f"mean of {len(shifts)} shifts" if len(shifts) > 1 else "top-1"
    return aligned(("best", "method + adapter", over, ""), told, left=(True, True, False, True)) if told else []


def _best(answer: Answer) -> tuple[str, str, str]:
    best, group = answer.best_mean, sum(one.best_group for one in answer.contenders)
    name = best.method if best.adapter == "mean" else f"{best.method} + {best.adapter}"
    others = len(answer.contenders) - 1
    if not others:
        note = "nothing else was measured"
    elif group > 1:
        note = f"not apart from {group - 1} of {counted(others, 'other')}"
    else:
        note = f"ahead of {'all ' if others > 1 else ''}{counted(others, 'other')}"
    return name, percent(best.mean), note
