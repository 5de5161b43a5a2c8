"""The user's question, answered from stored rows: which method and adapter to choose, for what one has at hand.

`answers` ranks within one access class (a row's prior, label and test access), as rank tables must be read.
`situations` says what to choose for what one has: whoever has the unlabelled test set may as well leave it unused, so a
situation also admits every contender that needs less. Upper references (told the true test prior or test labels) are
classes of their own and belong to no situation. An answer is over the eleven published shifts; another one is over the
order-free shifts (shuffled_lt, dirichlet) where there are rows. Statistics: `harness.choice.bootstrap`.

`python -m harness.answer` prints both.
"""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from harness.choice.bootstrap import Comparison, compare
from harness.choice.entrants import PUBLISHED, Access, Entrant, Field, fields
from harness.choice.wording import class_words, name, recipe_words, sentence, situation_words, train_words
from harness.rows import Row, load_all
from harness.table import seen_note, short
from shifts.errors import BadInput

PRIORS = ("none", "estimated", "oracle")
LABELS = ("none", "source", "test")
TESTS = ("inductive", "stream", "transductive")


@dataclass(frozen=True)
class Contender:
    """A method with an adapter, over the shifts of an answer. Accuracies (fractions of 1) are means over train seeds.

    mean_low, mean_high: 95% interval; None where the images tell of no spread. worst: the lowest accuracy on a shift.
    regret: the largest shortfall on a shift, to the best contender of the same answer on that shift. p_adjusted: of no
    difference to the best mean, Holm over the others (1 for the best itself). best_group: p_adjusted >= .05.
    """

    method: str
    recipe: str | None
    adapter: str
    views: int | None
    target_prior_kind: str
    train_seeds: tuple[int, ...]
    mean: float
    mean_low: float | None
    mean_high: float | None
    worst: float
    worst_shift: str
    regret: float
    regret_shift: str
    p_adjusted: float
    best_group: bool
    by_shift: dict[str, float]


@dataclass(frozen=True)
class Answer:
    """Contenders with the same data, recipe and shifts, by mean, best first, and which of them to choose.

    access: prior, label and test access; of a situation the most that it gives. left_out: contenders of this access
    that lack some of the shifts, or have them with different train seeds. situation: what one has at hand; "" for an
    access class.
    """

    dataset: str
    train: str
    recipe_note: str
    access: Access
    shifts: tuple[str, ...]
    contenders: tuple[Contender, ...]
    best_mean: Contender
    best_worst: Contender
    least_regret: Contender
    sentence: str
    left_out: int = 0
    situation: str = ""


def answers(found: Sequence[Row]) -> list[Answer]:
    """Within each access class of each training set and recipe, upper references last. The order of rows is no matter.

    Raises ValueError for a row whose correctness bits do not fit its draw.
    """
    return [answer for field in fields(found) for answer in _by_class(field)]


def situations(found: Sequence[Row]) -> list[Answer]:
    """For each thing that one may have at hand, over all contenders that need no more. Raises as `answers`."""
    return [answer for field in fields(found) for answer in _by_situation(field)]


def _by_class(field: Field) -> list[Answer]:
    classes = sorted({entrant.access for entrant in field.entrants}, key=_order)
    return [
        _answer(
            field,
            [entrant for entrant in field.entrants if entrant.access == access],
            access,
            class_words(access),
            field.incomplete[access],
        )
        for access in classes
    ]


def _by_situation(field: Field) -> list[Answer]:
    made = []
    honest = [entrant for entrant in field.entrants if not is_upper(entrant.access)]
    for label, test in dict.fromkeys(access[1:] for access in sorted({one.access for one in honest}, key=_order)):
        gives = ("none" if test == "inductive" else "estimated", label, test)
        words = situation_words(label, test)
        admitted = [entrant for entrant in honest if _within(entrant.access, gives)]
        left_out = sum(count for access, count in field.incomplete.items() if _within(access, gives))
        made.append(_answer(field, admitted, gives, words, left_out, words))
    return made


def is_upper(access: Access) -> bool:
    """Whether rows of this access are upper references: they were told what nobody knows."""
    return access[0] == "oracle" or access[1] == "test"


def _within(access: Access, gives: Access) -> bool:
    """Whether a contender of this access needs no more than is given."""
    scales = (PRIORS, LABELS, TESTS)
    return all(scale.index(need) <= scale.index(has) for scale, need, has in zip(scales, access, gives, strict=True))


def _order(access: Access) -> tuple[bool, int, int, int]:
    prior, label, test = access
    return is_upper(access), LABELS.index(label), TESTS.index(test), PRIORS.index(prior)


def _answer(
    field: Field, admitted: Sequence[Entrant], access: Access, scope: str, left_out: int, situation: str = ""
) -> Answer:
    shifts, row = field.shifts, admitted[0].first
    correct = [[entrant.correct[shift] for shift in shifts] for entrant in admitted]
    result = compare(correct, field.draws, [entrant.networks(shifts[0]) for entrant in admitted])
    accuracy = np.array([[values.mean() for values in sets] for sets in correct])
    regret = accuracy.max(axis=0) - accuracy
    # `best` first, so that ties end alike here and there.
    order = sorted(range(len(admitted)), key=lambda number: (number != result.best, -result.mean[number]))
    contenders = tuple(
        _contender(admitted[number], shifts, accuracy[number], regret[number], result, number) for number in order
    )
    best_worst = max(contenders, key=lambda one: one.worst)
    least_regret = min(contenders, key=lambda one: one.regret)
    return Answer(
        dataset=row.dataset,
        train=train_words(row),
        recipe_note=recipe_words(row),
        access=access,
        shifts=shifts,
        contenders=contenders,
        best_mean=contenders[0],
        best_worst=best_worst,
        least_regret=least_regret,
        sentence=sentence(scope, contenders, best_worst, least_regret, len(shifts)),
        left_out=left_out,
        situation=situation,
    )


def _contender(
    entrant: Entrant,
    shifts: Sequence[str],
    accuracy: Float[np.ndarray, " shifts"],
    regret: Float[np.ndarray, " shifts"],
    result: Comparison,
    number: int,
) -> Contender:
    row = entrant.first
    low, high = float(result.low[number]), float(result.high[number])
    worst, most = int(accuracy.argmin()), int(regret.argmax())
    return Contender(
        method=row.method,
        recipe=row.recipe,
        adapter=row.adapter,
        views=row.views,
        target_prior_kind=row.target_prior_kind,
        train_seeds=tuple(seed for seed in entrant.seeds(shifts[0]) if seed is not None),
        mean=float(result.mean[number]),
        mean_low=low if low < high else None,
        mean_high=high if low < high else None,
        worst=float(accuracy[worst]),
        worst_shift=shifts[worst],
        regret=float(regret[most]),
        regret_shift=shifts[most],
        p_adjusted=float(result.p_adjusted[number]),
        best_group=bool(result.group[number]),
        by_shift=dict(zip(shifts, accuracy.tolist(), strict=True)),
    )


def render(found: Sequence[Row], width: int = 100) -> str:
    """What to choose in each situation, then a table for each access class; for a terminal of this width."""
    blocks = []
    for field in fields(found):
        classes = _by_class(field)
        first = classes[0]
        over = "the eleven published shifts" if first.shifts == PUBLISHED else ", ".join(first.shifts)
        blocks.append(textwrap.fill(f"{first.dataset}, train {first.train}, {first.recipe_note}; over {over}", width))
        blocks += [textwrap.fill(answer.sentence, width, initial_indent="* ") for answer in _by_situation(field)]
        blocks += [textwrap.fill(f"-- {class_words(one.access)}", width) + f"\n{_table(one)}" for one in classes]
        note = seen_note(vars(entrant.first) for entrant in field.entrants)
        blocks += [textwrap.fill(note, width)] if note else []
    return "\n\n".join([*blocks, textwrap.fill(LEGEND, width)]) if blocks else NOTHING


LEGEND = (
    "= not distinguishable from the best mean of its class (Holm-adjusted p >= .05). interval: 95%, class-stratified "
    "bootstrap of the pool's images crossed with train seeds. worst: the lowest top-1 on a shift. regret: the largest "
    "shortfall on a shift to the best of the class there, in points. F, U, B: forward, uniform, backward."
)
NOTHING = "no contender has all eleven published shifts, or an order-free one, with the same train seeds"
HEADINGS = ("method + adapter", "mean", "interval", "worst on", "regret on", "adj. p")


def _table(answer: Answer) -> str:
    lines = [HEADINGS, *(_line(one, one == answer.best_mean) for one in answer.contenders)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    marks = [" ", *("=" if one.best_group else " " for one in answer.contenders)]
    text = [
        "  ".join(
            [f"{mark} {line[0]:<{widths[0]}}", *(f"{cell:>{w}}" for cell, w in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for mark, line in zip(marks, lines, strict=True)
    ]
    if answer.left_out:
        text.append(f"  {answer.left_out} left out: not on all of these shifts with the same train seeds")
    return "\n".join(text)


def _line(one: Contender, best: bool) -> tuple[str, ...]:
    known = one.mean_low is not None and one.mean_high is not None
    return (
        name(one),
        f"{100 * one.mean:.1f}",
        f"{100 * (one.mean_low or 0):.1f}-{100 * (one.mean_high or 0):.1f}" if known else "",
        f"{100 * one.worst:.1f} {short(one.worst_shift):<3}",
        f"{100 * one.regret:.1f} {short(one.regret_shift) if one.regret > 0 else '':<3}",
        "" if best else f"{one.p_adjusted:.3f}",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the answers of a results folder."""
    from shifts.cli import Parser

    parser = Parser("python -m harness.answer", "Which method and adapter to choose, from stored rows.", EXAMPLES)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="the results folder")
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        raise BadInput(f"there is no results folder {options.results}")
    found = load_all(options.results)
    if not found:
        raise BadInput(f"{options.results} holds no rows; python -m harness.run makes them")
    print(render(found, min(shutil.get_terminal_size().columns, 100)))


EXAMPLES = """\
  python -m harness.answer
  python -m harness.answer --results results/reference
"""

if __name__ == "__main__":
    from shifts.cli import command

    sys.exit(command(main)(None))
