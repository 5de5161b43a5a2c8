"""Which method to choose, for each situation of a user: best mean, best worst shift, smallest largest regret."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.board.table import seen_note
from harness.pages.blocks import Block
from harness.show.access import class_words
from harness.show.cells import percent
from harness.show.section import Table
from harness.show.shifts import is_ordered, short
from harness.show.text import counted

if TYPE_CHECKING:
    from harness.choice.contenders import Answer, Contender


@dataclass(frozen=True)
class Card:
    """One criterion: its name, the winner, the winning number and its meaning."""

    criterion: str
    winner: str
    value: str
    detail: str


@dataclass(frozen=True)
class Winner:
    """A contender that is best by some criteria, and which these are."""

    contender: "Contender"
    best_in: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """One answer as it is shown: for a situation of a user, or within one access class."""

    title: str
    over: str
    told: bool
    sentence: str
    notes: tuple[str, ...]
    cards: tuple[Card, Card, Card]
    winners: tuple[Winner, ...]
    not_apart: int
    table: Table

    @property
    def order(self) -> tuple[bool, str]:
        """Sorting key: the published shifts first."""
        return "published" not in self.over, self.over


@dataclass(frozen=True)
class Choices:
    """The answers to the rows of a block; `situations` and `classes` are the overviews of the two kinds."""

    by_situation: tuple[Choice, ...]
    by_class: tuple[Choice, ...]
    situations: Table
    classes: Table


NO_ANSWER = (
    "There is no answer over several shifts: no method with an adapter has all eleven published shifts (--shift all), "
    "or an order-free one, with the same train seeds."
)


def choices(block: Block) -> Choices:
    """Answer by the rows of a block; empty if no contender has a whole set of shifts."""
    from harness.choice.answers import answers, situations

    rows = [row for row in block.rows if row.task == "single_label"]
    by_situation, by_class = situations(rows), answers(rows)
    note = seen_note(map(vars, rows))
    return Choices(
        tuple(_choice(answer, note) for answer in by_situation),
        tuple(_choice(answer, note) for answer in by_class),
        _overview("What to choose for what you have, of all that needs no more", by_situation),
        _overview("Within each access class, nothing that needs less admitted", by_class),
    )


def contender_name(contender: "Contender") -> str:
    """Return method and adapter in one text, the method alone without adaptation."""
    return contender.method if contender.adapter == "mean" else f"{contender.method} + {contender.adapter}"


def shifts_text(shifts: Sequence[str]) -> str:
    """Return the kind of shifts that an answer is over."""
    return "published" if any(map(is_ordered, shifts)) else "order-free"


def _choice(answer: "Answer", note: str) -> Choice:
    """Make an answer ready to be shown. note: on source images, for an answer that admits them."""
    mean, worst, regret = answer.best_mean, answer.best_worst, answer.least_regret
    interval = ""
    if mean.mean_low is not None and mean.mean_high is not None:
        interval = f"95 % interval {100 * mean.mean_low:.1f} to {100 * mean.mean_high:.1f}"
    cards = (
        Card("Best mean", contender_name(mean), percent(mean.mean), interval),
        Card("Best worst shift", contender_name(worst), percent(worst.worst), f"on {worst.worst_shift}"),
        Card(
            "Smallest largest regret",
            contender_name(regret),
            f"{100 * regret.regret:.1f} points",
            f"behind the best, on {regret.regret_shift}",
        ),
    )
    notes = []
    if answer.recipe_note != f"recipe {answer.contenders[0].recipe}":
        notes.append(answer.recipe_note)
    if answer.left_out:
        notes.append(f"{answer.left_out} left out: not on all of these shifts with the same train seeds.")
    if note and answer.access[1] == "source":
        notes.append(note)
    return Choice(
        answer.situation or class_words(answer.access),
        counted(len(answer.shifts), f"{shifts_text(answer.shifts)} shift"),
        answer.access.is_upper,
        answer.sentence,
        tuple(notes),
        cards,
        _winners(answer),
        sum(contender.best_group for contender in answer.contenders) - 1,
        _table(answer),
    )


def _winners(answer: "Answer") -> tuple[Winner, ...]:
    """Return each contender that is best by a criterion, once."""
    criteria = {"mean": answer.best_mean, "worst": answer.best_worst, "regret": answer.least_regret}
    winners: list[Winner] = []
    for contender in criteria.values():
        if all(contender != winner.contender for winner in winners):
            best_in = tuple(name for name, best in criteria.items() if best == contender)
            winners.append(Winner(contender, best_in))
    return tuple(winners)


def _overview(caption: str, answers: "Sequence[Answer]") -> Table:
    """Return a line for each answer, with the winners by the three criteria."""
    rows = tuple(
        (
            answer.situation or class_words(answer.access),
            f"{len(answer.shifts)} {shifts_text(answer.shifts)}",
            contender_name(answer.best_mean),
            answer.best_mean.mean,
            contender_name(answer.best_worst),
            answer.best_worst.worst,
            short(answer.best_worst.worst_shift),
            contender_name(answer.least_regret),
            answer.least_regret.regret,
            short(answer.least_regret.regret_shift),
        )
        for answer in answers
    )
    columns = (
        "what you have",
        "shifts",
        "best mean",
        "mean %",
        "best worst shift",
        "worst %",
        "on",
        "smallest largest regret",
        "regret, % points",
        "on ",
    )
    return Table(caption, columns, rows)


def _table(answer: "Answer") -> Table:
    several = len({contender.recipe for contender in answer.contenders}) > 1
    rows = []
    for contender in answer.contenders:
        method = contender.method
        if several and contender.recipe:
            method += f" ({contender.recipe})"
        rows.append(
            (
                method,
                contender.adapter,
                contender.mean,
                contender.mean_low,
                contender.mean_high,
                contender.worst,
                short(contender.worst_shift),
                contender.regret,
                short(contender.regret_shift),
                contender.p_adjusted,
                contender.best_group,
                len(contender.train_seeds),
            )
        )
    columns = (
        "method",
        "adapter",
        "mean %",
        "from %",
        "to %",
        "worst %",
        "on",
        "largest regret, % points",
        "on ",
        "adjusted p",
        "not apart from the best",
        "seeds",
    )
    return Table("Every contender, best mean first", columns, tuple(rows))
