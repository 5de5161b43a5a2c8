"""What checks of rows found: each holds, is at fault, or cannot be made, and then it is said why."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isclose
from typing import Any

CHECKS = {
    "files": "whole, of a schema that can be read",
    "numbers": "no NaN, none out of range or length",
    "versions": "none is newer than this program's",
    "withdrawn": "no adapter's version that was withdrawn",
    "access": "a row knew what its adapter reads",
    "counts": "images of each class fit shift and pool",
    "training": "the training set drawn again is the same",
    "draw": "the test set drawn again has this hash",
    "row_id": "made again from the row it is the same",
    "accuracy": "follows from the stored bits",
    "calibration": "ECE follows from the stored bins",
    "distances": "follow from the stored counts",
    "experts": "distances of their priors fit the method",
    "redraws": "accuracies are whole images",
    "gains": "follow from the row without adaptation",
    "images": "answered alike in every test set",
    "published": "the figure is that of reported.toml",
    "one_content": "one row_id, one setting: one content",
    "copies": "no two names give the same answers",
    "leaderboard": "leaderboard.json is what rows give",
}
"""Name of a check -> what holds where nothing is at fault, in the order of the table."""

BEYOND = (
    "No check reaches what a row does not hold the grounds of: nll, entropy, weights, prior_estimate, view_stability, "
    "the confidences in bins, intervals of mAP, seconds, and whether the network was trained as the row says."
)
"""What is never counted as right."""


@dataclass(frozen=True)
class Fault:
    """What is wrong, in one clause."""

    said: str


@dataclass(frozen=True)
class Unknown:
    """Why a check cannot be made, in one clause."""

    why: str


@dataclass(frozen=True)
class Nothing:
    """The row has nothing that the check looks at."""


Outcome = Fault | Unknown | Nothing | None
"""Of one check on one row; None where it holds."""


@dataclass
class Findings:
    """What came of all checks. holds: how often each held; faults: place and clause; unknown: how often, by reason."""

    holds: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    unknown: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    notes: list[str] = field(default_factory=list)

    def add(self, check: str, place: str, outcome: Outcome) -> None:
        """Take down what came of a check at a place."""
        assert check in CHECKS, check
        if outcome is None:
            self.holds[check] += 1
        elif isinstance(outcome, Fault):
            self.faults[check].append((place, outcome.said))
        elif isinstance(outcome, Unknown):
            self.unknown[check][outcome.why] += 1

    @property
    def sound(self) -> bool:
        """Whether nothing is at fault."""
        return not self.faults


def compared(pairs: Iterable[tuple[str, Any, Any]], near: float = 1e-9) -> Fault | None:
    """Return the first difference of (name, stored, made again), None where there is none; floats within `near`."""
    for name, stored, made in pairs:
        if not _same(stored, made, near):
            return Fault(f"{name} is {_text(stored)} and comes to {_text(made)}")
    return None


def _same(stored: Any, made: Any, near: float) -> bool:
    if isinstance(made, float) and isinstance(stored, int | float) and not isinstance(stored, bool):
        return isclose(stored, made, rel_tol=near, abs_tol=near)
    return bool(stored == made)


def _text(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:16] + "..."
