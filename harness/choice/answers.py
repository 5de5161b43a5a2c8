"""From stored rows to answers: who may compete, who is best, who cannot be told apart."""

from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from harness.choice.bootstrap import Comparison, compare
from harness.choice.contenders import Answer, Contender
from harness.choice.entrants import Contest, Entrant, contests
from harness.choice.families import AXIS, Field, family
from harness.choice.wording import sentence, stability
from harness.evidence.access import Access
from harness.records.rows import Row
from harness.show.access import class_words, situation_words
from harness.show.settings import recipe_words, train_words


def answers(rows: Sequence[Row]) -> list[Answer]:
    """Return the answer for each access class of each training set and recipe, upper references last.

    The order of the rows does not matter. Raises ValueError for a row whose correctness bits do not fit its draw.
    """
    return [answer for contest in contests(rows) for answer in by_class(contest)]


def situations(rows: Sequence[Row]) -> list[Answer]:
    """Return the answer for each situation of a user, over all contenders that need no more than it gives.

    Raises as `answers`.
    """
    return [answer for contest in contests(rows) for answer in by_situation(contest)]


def by_class(contest: Contest, field: Field | None = None) -> list[Answer]:
    """Return the answer for each access class of a contest; with the standing of contenders where there is a field."""
    classes = sorted({entrant.access for entrant in contest.entrants}, key=lambda access: access.rank)
    return [
        _answer(
            contest,
            [entrant for entrant in contest.entrants if entrant.access == access],
            access,
            class_words(access),
            contest.incomplete[access],
            field=field,
        )
        for access in classes
    ]


def by_situation(
    contest: Contest, field: Field | None = None, asked: Container[tuple[str, str]] | None = None
) -> list[Answer]:
    """Return the answer for each situation of a user; with the standing of contenders where there is a field.

    asked: the situations to answer, as (labels, test images) of what the user has; all where None.
    """
    honest = [entrant for entrant in contest.entrants if not entrant.access.is_upper]
    classes = sorted({entrant.access for entrant in honest}, key=lambda access: access.rank)
    made = []
    for label, test in dict.fromkeys(access[1:] for access in classes):
        if asked is not None and (label, test) not in asked:
            continue
        gives = Access("none" if test == "inductive" else "estimated", label, test)
        words = situation_words(gives)
        admitted = [entrant for entrant in honest if entrant.access.within(gives)]
        left_out = sum(count for access, count in contest.incomplete.items() if access.within(gives))
        made.append(_answer(contest, admitted, gives, words, left_out, words, field))
    return made


def _answer(
    contest: Contest,
    admitted: Sequence[Entrant],
    access: Access,
    scope: str,
    left_out: int,
    situation: str = "",
    field: Field | None = None,
) -> Answer:
    shifts, row = contest.shifts, admitted[0].first
    correct = [[entrant.correct[shift] for shift in shifts] for entrant in admitted]
    result = compare(correct, contest.draws, [entrant.networks(shifts[0]) for entrant in admitted])
    accuracy = np.array([[values.mean() for values in sets] for sets in correct])
    regret = accuracy.max(axis=0) - accuracy
    # `best` first, so that ties end alike here and there.
    order = sorted(range(len(admitted)), key=lambda number: (number != result.best, -result.mean[number]))
    standings = {} if field is None else field.standings(admitted)
    contenders = tuple(
        replace(
            _contender(admitted[number], shifts, accuracy[number], regret[number], result, number),
            standing=standings.get(admitted[number].setting),
        )
        for number in order
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
        stability="" if field is None else _stability(contest, admitted, order[0], field),
    )


def _stability(contest: Contest, admitted: Sequence[Entrant], best: int, field: Field) -> str:
    """Say how firmly the best of a contest is first over the families of a field, and on those that it was not of."""
    on_axis = family(contest.shifts[0]) == AXIS
    others = [name for name in field.families if (name == AXIS) != on_axis]
    setting = admitted[best].setting
    everywhere, there = field.standings(admitted), field.standings(admitted, others) if others else {}
    leader = max(there, key=lambda one: (there[one].first, str(one)), default=None)
    ahead = next((one.first for one in admitted if one.setting == leader != setting), None)
    rival = None if ahead is None else (f"{ahead.method} + {ahead.adapter}", there[leader])
    return stability(field.families, others, on_axis, everywhere, setting, there.get(setting), rival)


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
