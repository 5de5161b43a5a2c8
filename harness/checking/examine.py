"""All checks on all rows of a results folder."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.board import build as leaderboard
from harness.checking import across, claims, data, figures, labels, stored
from harness.checking.data import AtHand, Data
from harness.checking.findings import Fault, Findings, Outcome, Unknown
from harness.records.rows import Row
from shifts.common.errors import WorkFailed

ALONE: dict[str, Callable[[Row], Outcome]] = {
    "versions": claims.versions,
    "withdrawn": claims.not_withdrawn,
    "access": claims.access,
    "accuracy": figures.accuracy,
    "calibration": figures.calibration,
    "distances": figures.distances,
    "redraws": figures.redraws,
    "published": claims.published,
}
WITH_DATA: dict[str, Callable[[Row, Data | Unknown], Outcome]] = {
    "counts": data.counts,
    "training": data.training_draw,
    "draw": data.test_draw,
    "row_id": data.row_id,
    "experts": data.experts,
}
LABELS: dict[str, Callable[[Any], Outcome]] = {
    "versions": claims.versions,
    "withdrawn": claims.not_withdrawn,
    "access": claims.access,
    "accuracy": labels.accuracy,
    "distances": labels.distances,
    "published": claims.published,
}
LABELS_WITH_DATA: dict[str, Callable[[Any, Data | Unknown], Outcome]] = {
    "training": data.training_draw,
    "draw": data.test_draw,
}


@dataclass(frozen=True)
class Examined:
    """A folder, how many rows it holds by dataset, method and adapter, and what the checks found."""

    folder: Path
    rows: int
    held: dict[str, Counter[str]]
    studies: int
    findings: Findings


def examine(folder: Path, at_hand: AtHand) -> Examined:
    """Make every check on every row under a folder. Raises BadInput where data at hand cannot be read."""
    findings = Findings()
    single, multi = stored.single(folder, findings.add), stored.multi(folder, findings.add)
    hold(single, multi, at_hand, findings)
    whole = not {"files", "numbers", "withdrawn"} & findings.faults.keys()
    findings.add("leaderboard", "leaderboard.json", _leaderboard(folder, whole))
    every = [row for _, row in (*single, *multi)]
    older = Counter(filter(None, map(claims.superseded, every)))
    findings.notes += [f"{count:,} rows are of {name}, which a newer one has replaced" for name, count in older.items()]
    held = {name: Counter(str(getattr(row, name)) for row in every) for name in ("dataset", "method", "adapter")}
    return Examined(folder, len(every), held, len(stored.study_files(folder)), findings)


def hold(single: Sequence[across.Named], multi: Sequence[across.Named], at_hand: AtHand, findings: Findings) -> None:
    """Hold rows against what they store, the data at hand and each other; they may hold anything that has its type."""
    fit = _each(single, figures.numbers, ALONE, WITH_DATA, at_hand, findings)
    label_fit = _each(multi, labels.numbers, LABELS, LABELS_WITH_DATA, at_hand, findings)
    across.one_content([*fit, *label_fit], findings.add)
    for compare in (across.copies, across.gains, across.images):
        compare(fit, findings.add)


def _each(
    named: Sequence[across.Named],
    numbers: Callable[[Any], Outcome],
    alone: dict[str, Callable[[Any], Outcome]],
    with_data: dict[str, Callable[[Any, Data | Unknown], Outcome]],
    at_hand: AtHand,
    findings: Findings,
) -> list[across.Named]:
    """Check each row for itself, and return those whose numbers can be computed with."""
    fit = []
    for place, row in named:
        outcome = numbers(row)
        findings.add("numbers", place, outcome)
        if outcome is not None:
            for name in (*alone, *with_data):
                findings.add(name, place, Unknown("its numbers are at fault"))
            continue
        fit.append((place, row))
        for name, check in alone.items():
            findings.add(name, place, check(row))
        known = at_hand.of(row.dataset)
        for name, check_with in with_data.items():
            findings.add(name, place, check_with(row, known))
    return fit


def _leaderboard(folder: Path, whole: bool) -> Outcome:
    """Check that the stored leaderboard is what the rows give."""
    where = folder / "leaderboard.json"
    if not whole:
        return Unknown("a file or a row is at fault")
    if not where.exists():
        return Unknown("there is none")
    try:
        made = "".join(leaderboard.text(folder, checked=True))
    except WorkFailed as error:
        return Fault(f"none can be made of the rows: {error}")
    return None if made.encode() == where.read_bytes() else Fault("it is not what the rows give")
