"""The user's question, answered for each situation of access: best mean, best worst shift, smallest largest regret."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.report.blocks import SITUATIONS, Block, situation
from harness.report.cells import percent
from harness.report.section import Table
from harness.table import short

if TYPE_CHECKING:
    from harness.answer import Answer, Contender


@dataclass(frozen=True)
class Card:
    """One criterion: its name, who wins by it, the winning number and what it means."""

    criterion: str
    winner: str
    value: str
    detail: str


@dataclass(frozen=True)
class Choice:
    """The answer for one situation of access, ready to be shown."""

    title: str
    key: str
    sentence: str
    note: str
    cards: tuple[Card, Card, Card]
    table: Table


def choices(block: Block) -> list[Choice]:
    """The answers to a block's rows, in the order of the situations."""
    from harness.answer import answers

    found = [_choice(answer) for answer in answers(block.rows)]
    order = list(SITUATIONS)
    return sorted(found, key=lambda choice: order.index(choice.key))


def access_text(prior_access: str, label_access: str, test_access: str) -> str:
    """Three declarations of access in words."""
    key = situation(prior_access, label_access, test_access)
    if key == "inductive":
        return SITUATIONS[key]
    if key == "told":
        what = "the true test prior" if prior_access == "oracle" else "the test labels"
        return f"Upper reference: told {what}"
    seen = {
        "inductive": "One image at a time",
        "transductive": "The unlabelled test set",
        "stream": "The test images as a stream",
    }[test_access]
    prior = ", test prior estimated" if prior_access == "estimated" else ", no estimate of the test prior"
    labels = " with labelled source images" if label_access == "source" else ""
    return seen + labels + prior


def contender_name(contender: "Contender") -> str:
    """Method and adapter in one text; the method alone without adaptation."""
    return contender.method if contender.adapter == "mean" else f"{contender.method} + {contender.adapter}"


def _choice(answer: "Answer") -> Choice:
    mean, worst, regret = answer.best_mean, answer.best_worst, answer.least_regret
    interval = ""
    if mean.mean_low is not None and mean.mean_high is not None:
        interval = f", 95 % interval {100 * mean.mean_low:.1f} to {100 * mean.mean_high:.1f}"
    cards = (
        Card(
            "Best mean",
            contender_name(mean),
            percent(mean.mean),
            f"over {len(answer.shifts)} shift{'s' if len(answer.shifts) > 1 else ''}{interval}",
        ),
        Card("Best worst shift", contender_name(worst), percent(worst.worst), f"on {worst.worst_shift}"),
        Card(
            "Smallest largest regret",
            contender_name(regret),
            f"{100 * regret.regret:.1f} points",
            f"behind the best of this situation, on {regret.regret_shift}",
        ),
    )
    return Choice(
        access_text(*answer.access), situation(*answer.access), answer.sentence, answer.recipe_note, cards, _table(answer)
    )


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
        "largest regret %",
        "on ",
        "adjusted p",
        "not apart from the best",
        "seeds",
    )
    return Table("Every contender, best mean first", columns, tuple(rows))
