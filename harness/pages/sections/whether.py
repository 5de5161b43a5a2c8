"""Whether to adapt: what following a rule costs, against never, always and hindsight, on the stored rows."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.pages.blocks import Block
from harness.records.rows import Row
from harness.show.cells import points
from harness.show.section import Section, Table
from harness.show.shifts import read

RULES = {"choose": "em", "choose_source": "eb_em_recal"}
"""An adapter that decides whether to adapt -> what it adapts with where it does."""


@dataclass(frozen=True)
class Case:
    """One model on one test set: top-1 without adaptation, with it, and with the rule between the two."""

    method: str
    shift: str
    never: float
    always: float
    rule: float

    @property
    def best(self) -> float:
        """The better of adapting and not, in hindsight."""
        return max(self.never, self.always)


def section(block: Block) -> Section | None:
    """Show the regret of each rule by shift family and by method; None where no rule was measured."""
    found = {rule: cases(block.rows, rule) for rule in RULES}
    tables = [
        table
        for rule, own in found.items()
        if own
        for table in (
            _table(rule, own, "shift family", _family),
            _table(rule, own, "method", lambda case: case.method),
        )
    ]
    if not tables:
        return None
    lead = " ".join(_lead(rule, own) for rule, own in found.items() if own)
    return Section("whether", "Whether to adapt", lead, tuple(tables))


def cases(rows: Sequence[Row], rule: str) -> list[Case]:
    """Return every model and test set on which the rule, no adaptation and its adaptation were all measured."""
    together: dict[tuple[Any, ...], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        key = (row.method, row.checkpoint_sha256, row.evidence_precision, row.shift, row.indices_sha256)
        together[key][row.adapter] = row
    names = ("mean", RULES[rule], rule)
    return [
        Case(of["mean"].method, of["mean"].shift, *(of[name].top1 for name in names))
        for of in together.values()
        if all(name in of for name in names)
    ]


def _table(rule: str, own: Sequence[Case], heading: str, group: Callable[[Case], str]) -> Table:
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in own:
        groups[group(case)].append(case)
    rows = [(name, *_figures(groups[name])) for name in sorted(groups)] + [("all", *_figures(own))]
    columns = (
        heading,
        "sets",
        "never adapting, points below hindsight",
        f"{RULES[rule]} always, points below hindsight",
        f"{rule}, points below hindsight",
        "right, % of sets",
        f"worst of {RULES[rule]} against not adapting, points",
        f"worst of {rule} against not adapting, points",
    )
    return Table(f"Regret of {rule} by {heading}: mean over models and test sets", columns, tuple(rows))


def _family(case: Case) -> str:
    """Return the kind of a shift along the class frequency, of others with their number."""
    shift = read(case.shift)
    return shift.kind if shift.traits.letter else shift.family


def _figures(own: Sequence[Case]) -> tuple[int | float, ...]:
    count = len(own)
    right = sum((case.rule >= case.best) for case in own)
    return (
        count,
        *(sum(getattr(case, name) - case.best for case in own) / count for name in ("never", "always", "rule")),
        right / count,
        *(min(getattr(case, name) - case.never for case in own) for name in ("always", "rule")),
    )


def _lead(rule: str, own: Sequence[Case]) -> str:
    count, never, always, followed, right, _, worst = _figures(own)
    needs = "labelled source images" if rule == "choose_source" else "no label"
    return (
        f"{rule}, which needs {needs}, lies {points(followed)} points from the better of adapting and not, on average "
        f"over {count:,} test sets (never adapting {points(never)}, {RULES[rule]} always {points(always)}). It is "
        f"right on {100 * right:.0f} of 100, and its worst set lies {points(worst)} points from not adapting."
    )
