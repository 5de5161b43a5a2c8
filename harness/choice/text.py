"""Answers for a terminal: which method and adapter to choose, by what the user has.

`answers` ranks within one access class: contenders that knew the same of the test prior, of labels and of test images.
`situations` ranks all contenders that need no more than the user has, since unlabelled test data may be left unused.
Upper references (told the true test prior or test labels) are classes of their own and belong to no situation. There is
one answer over the eleven published shifts, and one over the order-free shifts (shuffled_lt, dirichlet) if there are
rows. Statistics: `harness.choice.bootstrap`.

`python -m harness.answer` prints both.
"""

import textwrap
from collections.abc import Sequence

from harness.board.table import seen_note
from harness.choice.answers import by_class, by_situation
from harness.choice.contenders import Answer, Contender, Standing
from harness.choice.entrants import PUBLISHED, contests
from harness.choice.families import field_of
from harness.choice.wording import name
from harness.records.rows import Row
from harness.show.access import class_words
from harness.show.shifts import short
from harness.show.text import aligned, percent


def render(rows: Sequence[Row], width: int = 100) -> str:
    """Return what to choose in each situation, then a table for each access class, for a terminal of this width."""
    blocks = []
    found = contests(rows)
    fields = {data: field_of([one for one in found if one.data == data]) for data in {one.data for one in found}}
    for contest in found:
        field = fields[contest.data]
        classes = by_class(contest, field)
        first = classes[0]
        over = "the eleven published shifts" if first.shifts == PUBLISHED else ", ".join(first.shifts)
        blocks.append(textwrap.fill(f"{first.dataset}, train {first.train}, {first.recipe_note}; over {over}", width))
        said = (" ".join([answer.sentence, answer.stability]).strip() for answer in by_situation(contest, field))
        blocks += [textwrap.fill(text, width, initial_indent="* ") for text in said]
        blocks += [textwrap.fill(f"-- {class_words(one.access)}", width) + f"\n{_table(one)}" for one in classes]
        note = seen_note(vars(entrant.first) for entrant in contest.entrants)
        blocks += [textwrap.fill(note, width)] if note else []
    return "\n\n".join([*blocks, textwrap.fill(LEGEND, width)]) if blocks else NOTHING


LEGEND = (
    "= not distinguishable from the best mean of its class (Holm-adjusted p >= .05). interval: 95%, class-stratified "
    "bootstrap of the pool's images crossed with train seeds. worst: the lowest top-1 on a shift. regret: the largest "
    "shortfall on a shift to the best of the class there, in points. F, U, B: forward, uniform, backward. rank: 95% "
    "interval in the class, first: share of first places, when families of shifts are drawn anew beside images and "
    "seeds. Forward, uniform and backward sets are one family, the axis; each order-free kind is another; families "
    "count alike."
)


NOTHING = "no contender has all eleven published shifts, or an order-free one, with the same train seeds"


HEADINGS = ("  method + adapter", "mean", "interval", "worst on", "regret on", "adj. p", "rank", "first")


def _table(answer: Answer) -> str:
    lines = aligned(HEADINGS, [_line(one, one == answer.best_mean) for one in answer.contenders])
    if answer.left_out:
        lines.append(f"  {answer.left_out} left out: not on all of these shifts with the same train seeds")
    return "\n".join(lines)


def _standing(standing: Standing | None) -> tuple[str, str]:
    if standing is None:
        return "", ""
    ranks = str(standing.low) if standing.low == standing.high else f"{standing.low}-{standing.high}"
    return ranks, f"{standing.first:.2f}"


def _line(one: Contender, best: bool) -> tuple[str, ...]:
    return (
        f"{'=' if one.best_group else ' '} {name(one)}",
        percent(one.mean),
        "" if one.mean_low is None else f"{percent(one.mean_low)}-{percent(one.mean_high)}",
        f"{percent(one.worst)} {short(one.worst_shift):<3}",
        f"{percent(one.regret)} {short(one.regret_shift) if one.regret > 0 else '':<3}",
        "" if best else f"{one.p_adjusted:.3f}",
        *_standing(one.standing),
    )
