"""`Shift`, the value that names one test distribution, its canonical text form, and requests for several."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from shifts.common.errors import BadInput, check_name

Kind = Literal["forward_lt", "uniform", "backward_lt", "shuffled_lt", "dirichlet", "natural", "custom", "list"]
Rule = Literal["seeded-shuffle", "first-n"]

KINDS: tuple[str, ...] = get_args(Kind)
RULES: tuple[Rule, ...] = ("seeded-shuffle", "first-n")
PUBLISHED_RATIOS = (50, 25, 10, 5, 2)
DEFAULT_RATIO = 50.0
MAX_SEED = 2**32 - 1

_LONG_TAILED = ("forward_lt", "backward_lt", "shuffled_lt")
_SEEDED = ("shuffled_lt", "dirichlet")
_FROM_FILE = ("custom", "list")
_SUFFIX = "-first_n"
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_TEXT = re.compile(rf"(?P<kind>[a-z_]+?)(?:-(?P<number>{_NUMBER}))?(?:-s(?P<seed>[0-9]+))?")


@dataclass(frozen=True)
class Shift:
    """One test distribution: what to draw from a test pool, never the images themselves.

    `ratio` belongs to the long-tailed kinds (default 50), `alpha` to `dirichlet`, `seed` to `shuffled_lt` and
    `dirichlet` (default 0), `path` to `custom` and `list`, `rule` to all but `list`; what does not belong is
    None. The seed of the *draw* is no part of the value: a redraw is the same shift. Raises BadInput.
    """

    kind: Kind
    ratio: float | None = None
    alpha: float | None = None
    seed: int | None = None
    rule: Rule | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        check_name("shift", self.kind, KINDS)
        self._settle("ratio", self.kind in _LONG_TAILED, DEFAULT_RATIO)
        self._settle("alpha", self.kind == "dirichlet", None)
        self._settle("seed", self.kind in _SEEDED, 0)
        self._settle("rule", self.kind != "list", RULES[0])
        self._settle("path", self.kind in _FROM_FILE, None)
        if self.ratio is not None:
            object.__setattr__(self, "ratio", check_ratio(f"the ratio of {self.kind}", self.ratio))
        if self.alpha is not None:
            if not (math.isfinite(self.alpha) and self.alpha > 0):
                raise BadInput(f"the alpha of dirichlet is {self.alpha}; it must be a finite number above 0")
            object.__setattr__(self, "alpha", float(self.alpha))
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise BadInput(f"the seed of {self.kind} is {self.seed}; it must lie in 0..{MAX_SEED}")
        if self.rule is not None:
            check_name("draw rule", self.rule, RULES)
        if self.path is not None and self.path.endswith(_SUFFIX):
            raise BadInput(f"a file name of a shift must not end in {_SUFFIX!r}: {self.path}")

    def _settle(self, field: str, belongs: bool, default: object) -> None:
        """Fill in the default of a field that belongs to the kind; refuse one that does not."""
        value = getattr(self, field)
        if not belongs and value is not None:
            raise BadInput(f"shift {self.kind} takes no {field}; given: {value!r}")
        if belongs and value is None:
            if default is None:
                raise BadInput(f"shift {self.kind} needs its {field}: {_example(self.kind)}")
            object.__setattr__(self, field, default)

    def __str__(self) -> str:
        parts: list[str] = [self.kind]
        if self.ratio is not None:
            parts.append(number_text(self.ratio))
        if self.alpha is not None:
            parts.append(number_text(self.alpha))
        if self.seed is not None:
            parts.append(f"s{self.seed}")
        if self.path is not None:
            parts.append(self.path)
        return "-".join(parts) + (_SUFFIX if self.rule == "first-n" else "")

    @classmethod
    def parse(cls, text: str) -> "Shift":
        """Return the shift that `text` names: `str(shift)` or shorter (`backward_lt` = ratio 50). Raises BadInput."""
        return _parse(text)[0]


def check_ratio(what: str, value: float) -> float:
    """Return `value` as a float. Raises BadInput that begins with `what` unless it is a finite number >= 1."""
    number = float(value)
    if not math.isfinite(number) or number < 1:
        raise BadInput(f"{what} is {value}; it must be a finite number >= 1")
    return number


def number_text(value: float) -> str:
    """Return the shortest text that reads back as the same number: 50 for 50.0, 0.1 for 0.1."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def published_shifts() -> list[Shift]:
    """Return the eleven published sets: forward 50 25 10 5 2, uniform, backward 2 5 10 25 50."""
    forward = [Shift("forward_lt", ratio) for ratio in PUBLISHED_RATIOS]
    backward = [Shift("backward_lt", ratio) for ratio in reversed(PUBLISHED_RATIOS)]
    return [*forward, Shift("uniform"), *backward]


def expand_shifts(kinds: Sequence[str], ratios: Sequence[float] | None) -> tuple[list[Shift], list[str]]:
    """Return what `--shift` and `--imbalance` ask for: shifts in order without duplicates, and notes for the user.

    `all` is the eleven published sets; a bare long-tailed kind is crossed with `ratios` (None: 50); a form
    with its own ratio keeps it. Raises BadInput for what is no shift.
    """
    shifts: list[Shift] = []
    notes: list[str] = []
    for text in kinds:
        if text == "all":
            shifts += published_shifts()
            if ratios is not None:
                notes.append("all is the eleven published sets with their ratios; --imbalance is not used for it")
            continue
        shift, own_ratio = _parse(text)
        if shift.ratio is not None and not own_ratio:
            for ratio in (DEFAULT_RATIO,) if ratios is None else ratios:
                shifts.append(Shift(shift.kind, ratio, seed=shift.seed, rule=shift.rule))
            continue
        shifts.append(shift)
        if ratios is not None:
            why = "keeps its own ratio" if own_ratio else "has no ratio"
            notes.append(f"{text} {why}; --imbalance is not used for it")
    return list(dict.fromkeys(shifts)), notes


def _parse(text: str) -> tuple[Shift, bool]:
    """Return the shift, and whether the text itself carried a ratio."""
    kind, dash, rest = text.partition("-")
    if kind in _FROM_FILE and dash and rest:
        return _from_file(kind, rest), False
    rule: Rule = "first-n" if text.endswith(_SUFFIX) else "seeded-shuffle"
    match = _TEXT.fullmatch(text.removesuffix(_SUFFIX))
    check_name("shift", kind, ("all", *KINDS))
    if match is None or kind == "all" or (kind in _FROM_FILE and rest):
        raise BadInput(f"shift {text!r} cannot be read; its form is {_example(kind)}")
    number, seed = match["number"], match["seed"]
    value = None if number is None else float(number)
    own_ratio = kind in _LONG_TAILED and value is not None
    return (
        Shift(
            cast(Kind, kind),
            ratio=None if kind == "dirichlet" else value,
            alpha=value if kind == "dirichlet" else None,
            seed=None if seed is None else int(seed),
            rule=None if kind == "list" else rule,
        ),
        own_ratio,
    )


def _from_file(kind: str, rest: str) -> Shift:
    if kind == "list":
        return Shift("list", path=rest)
    rule: Rule = "first-n" if rest.endswith(_SUFFIX) else "seeded-shuffle"
    return Shift("custom", rule=rule, path=rest.removesuffix(_SUFFIX))


def _example(kind: str) -> str:
    """Return the canonical form of a kind, for messages."""
    return {
        "uniform": "uniform",
        "natural": "natural (the whole pool)",
        "shuffled_lt": "shuffled_lt-50-s3 (ratio 50, seed 3)",
        "dirichlet": "dirichlet-0.1-s7 (alpha 0.1, seed 7)",
        "custom": "custom-FILE.json",
        "list": "list-FILE",
        "all": "all",
    }.get(kind, f"{kind}-50")
