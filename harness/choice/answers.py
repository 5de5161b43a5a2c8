"""From stored rows to answers: who may compete, who is best, who cannot be told apart."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from harness.choice.bootstrap import Comparison, compare
from harness.choice.contenders import Answer, Contender
from harness.choice.entrants import Entrant, Field, fields
from harness.choice.wording import sentence
from harness.evidence.access import Access
from harness.records.rows import Row
from harness.show.access import class_words, situation_words
from harness.show.settings import recipe_words, train_words


def answers(found: Sequence[Row]) -> list[Answer]:
    """Within each access class of each training set and recipe, upper references last. The order of rows is no matter.

    Raises ValueError for a row whose correctness bits do not fit its draw.
    """
    return [answer for field in fields(found) for answer in _by_class(field)]


def situations(found: Sequence[Row]) -> list[Answer]:
    """For each thing that one may have at hand, over all contenders that need no more. Raises as `answers`."""
    return [answer for field in fields(found) for answer in _by_situation(field)]


def _by_class(field: Field) -> list[Answer]:
    classes = sorted({entrant.access for entrant in field.entrants}, key=lambda access: access.rank)
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
    honest = [entrant for entrant in field.entrants if not entrant.access.is_upper]
    classes = sorted({entrant.access for entrant in honest}, key=lambda access: access.rank)
    for label, test in dict.fromkeys(access[1:] for access in classes):
        gives = Access("none" if test == "inductive" else "estimated", label, test)
        words = situation_words(gives)
        admitted = [entrant for entrant in honest if entrant.access.within(gives)]
        left_out = sum(count for access, count in field.incomplete.items() if access.within(gives))
        made.append(_answer(field, admitted, gives, words, left_out, words))
    return made


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
