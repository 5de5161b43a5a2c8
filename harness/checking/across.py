"""Rows against each other: gains over no adaptation, the same image in several test sets, copies, one content each."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from harness.board.merge import Contents
from harness.checking.claims import adapter_of
from harness.checking.figures import ROUNDED
from harness.checking.findings import Fault, Outcome, Unknown, compared
from harness.choice.pairs import correctness, places, pool_counts
from harness.evidence.access import Access
from harness.measures.metrics import expected_top1
from harness.measures.statistics import mcnemar
from harness.records.label_rows import LabelRow
from harness.records.rows import Row
from shifts.common.errors import BadInput

SAME_LOSS = frozenset({"balanced_softmax", "logit_adjusted"})
"""Methods that are one at their defaults, by their own files."""

Named = tuple[str, Any]
"""Where a row lies, in words, and the row."""
Add = Callable[[str, str, Outcome], None]


def one_content(named: Iterable[Named], add: Add) -> None:
    """Check that rows of one row_id, and of one setting, draw, train seed and versions, have one content."""
    contents = {Row: Contents(), LabelRow: Contents()}
    for place, row in named:
        conflict = contents[type(row)].conflict(row, place)
        add("one_content", place, None if conflict is None else Fault(conflict))


def copies(named: Iterable[Named], add: Add) -> None:
    """Check that no two networks, methods or strange adapters give the same answers and confidences on one draw."""
    groups: dict[Any, list[Named]] = defaultdict(list)
    of_adapter: dict[Any, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for place, row in named:
        answers = row.correct_bits, *map(tuple, (row.predicted, row.bins_count, row.bins_confidence))
        groups[row.test_fingerprint, row.indices_sha256, answers].append((place, row))
        of_adapter[_trained(row)][row.adapter][row.indices_sha256] = answers
    for group in groups.values():
        for number, (place, row) in enumerate(group):
            twin = next((other for other in group[:number] if _copied(row, other[1])), None)
            renamed = _renamed(row.adapter, of_adapter[_trained(row)])
            if twin is not None:
                add("copies", place, Fault(f"the same answers and confidences as {twin[0]}"))
            elif renamed is not None:
                add("copies", place, Fault(f"adapter {row.adapter} answers as {renamed} does on every test set"))
            else:
                add("copies", place, None)


def _trained(row: Row) -> tuple[Any, ...]:
    return row.method, row.recipe_sha256, row.train_seed, row.checkpoint_sha256


def _copied(row: Row, other: Row) -> bool:
    """Return whether two rows of the same answers are of networks that should not give them."""
    return _trained(row) != _trained(other) and {row.method, other.method} != SAME_LOSS


def _renamed(adapter: str, answers: dict[str, dict[str, Any]]) -> str | None:
    """Return the adapter that somebody's own one is on all its draws; this program's may well agree."""
    if adapter_of(adapter) is not None:
        return None
    own = answers[adapter].items()
    return next((other for other, of_other in answers.items() if other != adapter and own <= of_other.items()), None)


def gains(named: Sequence[Named], add: Add) -> None:
    """Check gain and p of each row against the row of the adapter `mean` on the same network and images."""
    plain = {_network(row): row for _, row in named if row.adapter == "mean"}
    for place, row in named:
        reference = plain.get(_network(row))
        add("gains", place, Unknown("the row of `mean` is missing") if reference is None else _gain(row, reference))


def _network(row: Row) -> tuple[Any, ...]:
    return (row.method, row.checkpoint_sha256, row.evidence_precision, row.evidence_version, row.indices_sha256)


def _gain(row: Row, reference: Row) -> Outcome:
    found = compared(
        [
            ("delta_to_mean", row.delta_to_mean, row.top1 - reference.top1),
            ("mcnemar_p_to_mean", row.mcnemar_p_to_mean, mcnemar(correctness(row), correctness(reference))),
        ]
    )
    if found is not None:
        return found
    for own, plain in zip(row.redraws, reference.redraws, strict=False):
        if abs(own["delta_to_mean"] - (own["top1"] - plain["top1"])) > 2 * ROUNDED:
            return Fault(f"delta_to_mean of redraw {own['draw_seed']} is {own['delta_to_mean']}")
    return None


def images(named: Sequence[Named], add: Add) -> None:
    """Check inductive rows against their row on the whole pool: the same answer to an image, the expected accuracy."""
    pools = pool_counts(row for _, row in named)
    whole: dict[Any, Row] = {}
    inductive = [(place, row) for place, row in named if Access.of(vars(row)).test == "inductive"]
    inductive = [(place, row) for place, row in inductive if not Access.of(vars(row)).is_upper]
    for _, row in inductive:
        if row.test_fingerprint in pools and row.n == pools[row.test_fingerprint].sum():
            whole[_predictor(row)] = row
    for place, row in inductive:
        pool = whole.get(_predictor(row))
        add("images", place, Unknown("no row on the whole test pool") if pool is None else _agrees(row, pool))


def _predictor(row: Row) -> tuple[Any, ...]:
    made_with = json.dumps([row.versions, row.device], sort_keys=True)
    return (*_network(row)[:-1], row.test_fingerprint, row.adapter, row.adapter_version, made_with)


def _agrees(row: Row, pool: Row) -> Outcome:
    if row.determinism != "bit for bit":
        return Unknown("computed where sums differ from run to run")
    try:
        at = places(row, np.array(pool.per_class_total))
    except BadInput as error:
        return Fault(str(error))
    if at is None:
        return Unknown("a list names the images")
    everywhere: Bool[np.ndarray, " pool"] = correctness(pool)
    differing = int((everywhere[at] != correctness(row)).sum())
    if differing:
        return Fault(f"{differing} of {row.n} images are answered otherwise than in the whole test pool")
    if row.expected_top1 is None:
        return None
    accuracies = np.array(pool.per_class_correct) / np.maximum(pool.per_class_total, 1)
    return compared([("expected_top1", row.expected_top1, expected_top1(accuracies, row.per_class_total))])
