"""`Shift`, the value that names one test distribution, its canonical text form, and requests for several."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from shifts.common.errors import BadInput, check_name
from shifts.labels.kinds import KINDS, Pool, ShiftKind
from shifts.labels.profiles import check_ratio, largest_set

Rule = Literal["seeded-shuffle", "first-n"]

RULES: tuple[Rule, ...] = ("seeded-shuffle", "first-n")
PUBLISHED_RATIOS = (50, 25, 10, 5, 2)
DEFAULT_RATIO = 50.0
MAX_SEED = 2**32 - 1

_DEFAULTS: dict[str, Any] = {"ratio": DEFAULT_RATIO, "alpha": None, "seed": 0, "rule": RULES[0], "path": None}
"""Field of a shift -> what it is where a text leaves it out; None: it must be given."""
_SUFFIX = "-first_n"
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_TEXT = re.compile(rf"(?P<kind>[a-z_]+?)(?:-(?P<number>{_NUMBER}))?(?:-s(?P<seed>[0-9]+))?")


@dataclass(frozen=True)
class Shift:
    """One test distribution: what to draw from a test pool, never the images themselves.

    `KINDS` says which of the other fields belong to a kind; those that do not are None. The default ratio is 50, the
    default seed 0. The seed of the *draw* is no part of the value: a redraw is the same shift. Raises BadInput.
    """

    kind: str
    ratio: float | None = None
    alpha: float | None = None
    seed: int | None = None
    rule: Rule | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        check_name("shift", self.kind, KINDS)
        for field, default in _DEFAULTS.items():
            self._settle(field, default)
        if self.ratio is not None:
            object.__setattr__(self, "ratio", check_ratio(f"the ratio of {self.kind}", self.ratio))
        if self.alpha is not None:
            if not (math.isfinite(self.alpha) and self.alpha > 0):
                raise BadInput(f"the alpha of {self.kind} is {self.alpha}; it must be a finite number above 0")
            object.__setattr__(self, "alpha", float(self.alpha))
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise BadInput(f"the seed of {self.kind} is {self.seed}; it must lie in 0..{MAX_SEED}")
        if self.rule is not None:
            check_name("draw rule", self.rule, RULES)
        if self.path is not None and self.path.endswith(_SUFFIX):
            raise BadInput(f"a file name of a shift must not end in {_SUFFIX!r}: {self.path}")

    def _settle(self, field: str, default: object) -> None:
        """Fill in the default of a field that belongs to the kind; refuse one that does not."""
        value, belongs = getattr(self, field), field in self.traits.takes
        if not belongs and value is not None:
            raise BadInput(f"shift {self.kind} takes no {field}; given: {value!r}")
        if belongs and value is None:
            if default is None:
                raise BadInput(f"shift {self.kind} needs its {field}: {self.traits.form}")
            object.__setattr__(self, field, default)

    @property
    def traits(self) -> ShiftKind:
        """The entry of its kind in `KINDS`."""
        return KINDS[self.kind]

    @property
    def values(self) -> dict[str, Any]:
        """The fields that `counts` and `prior` of its kind take."""
        return {field: getattr(self, field) for field in self.traits.takes if field != "rule"}

    def __str__(self) -> str:
        return self._text(self.seed)

    @property
    def family(self) -> str:
        """The text without the seed, which shifts of other seeds share: `dirichlet-0.1` for `dirichlet-0.1-s7`."""
        return self._text(None)

    @property
    def short(self) -> str:
        """The heading of a column: F50, U, B50 for kinds with a letter, the canonical text for others."""
        if not self.traits.letter:
            return str(self)
        rest = str(self).removeprefix(self.kind)
        return self.traits.letter + (rest[1:] if rest[1:2].isdigit() else rest)

    @property
    def order(self) -> tuple[float, float, int, str]:
        """The sorting key: from forward over uniform to backward, then the other kinds, each by number and seed."""
        number = self.ratio or self.alpha or 0.0
        if self.traits.side is not None:
            return 0, self.traits.side * number, 0, str(self)
        return 1 + list(KINDS).index(self.kind), number, self.seed or 0, str(self)

    def _text(self, seed: int | None) -> str:
        parts = [number_text(number) for number in (self.ratio, self.alpha) if number is not None]
        parts += [] if seed is None else [f"s{seed}"]
        parts += [] if self.path is None else [self.path]
        return "-".join([self.kind, *parts]) + (_SUFFIX if self.rule == "first-n" else "")

    @classmethod
    def parse(cls, text: str) -> "Shift":
        """Return the shift that `text` names: `str(shift)` or shorter (`backward_lt` = ratio 50). Raises BadInput."""
        return _parse(text)[0]


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
                shifts.append(replace(shift, ratio=ratio))
            continue
        shifts.append(shift)
        if ratios is not None:
            why = "keeps its own ratio" if own_ratio else "has no ratio"
            notes.append(f"{text} {why}; --imbalance is not used for it")
    return list(dict.fromkeys(shifts)), notes


def class_counts(
    shift: Shift,
    pool_counts: Int[np.ndarray, " classes"],
    rank: Int[np.ndarray, " classes"],
    class_names: Sequence[str] | None = None,
) -> Int[np.ndarray, " classes"]:
    """Return the images of each class that `shift` takes from a test pool; `rank`: `class_rank` of the training set.

    Raises BadInput where the pool cannot give the shift (naming the class and what is possible), for a
    `custom` file that cannot be used, and for `list` (its images stand in the file: `shifts.sets.resolve.resolve`).
    """
    pool = Pool(np.asarray(pool_counts, dtype=np.int64), rank, class_names)
    if shift.traits.counts is not None:
        return shift.traits.counts(pool, **shift.values)
    if shift.traits.prior is not None:
        return largest_set(shift.traits.prior(rank, **shift.values), pool.counts)
    raise BadInput(f"a {shift.kind} shift names its images itself; resolve it against a dataset")


def class_prior(
    shift: Shift,
    pool_counts: Int[np.ndarray, " classes"],
    rank: Int[np.ndarray, " classes"],
    class_names: Sequence[str] | None = None,
) -> Float[np.ndarray, " classes"]:
    """Return the class prior that a shift aims at, for sets drawn with replacement: no pool limits it.

    A kind with a prior alone (`dirichlet`): that prior; other kinds: shares of `class_counts`. Raises BadInput as that.
    """
    if shift.traits.counts is None and shift.traits.prior is not None:
        return shift.traits.prior(rank, **shift.values)
    counts = class_counts(shift, pool_counts, rank, class_names)
    return np.asarray(counts / counts.sum())


def _parse(text: str) -> tuple[Shift, bool]:
    """Return the shift, and whether the text itself carried a ratio."""
    name = text.partition("-")[0]
    check_name("shift", name, ("all", *KINDS))
    takes = KINDS[name].takes if name in KINDS else ()
    rule: Rule | None = None
    bare = text
    if "rule" in takes:
        bare = text.removesuffix(_SUFFIX)
        rule = RULES[bare != text]
    if "path" in takes:
        return Shift(name, rule=rule, path=bare.partition("-")[2] or None), False
    match = _TEXT.fullmatch(bare)
    if match is None or not takes:
        raise BadInput(f"shift {text!r} cannot be read; its form is {KINDS[name].form if takes else name}")
    number = None if match["number"] is None else float(match["number"])
    seed = None if match["seed"] is None else int(match["seed"])
    if "alpha" in takes:
        return Shift(name, alpha=number, seed=seed, rule=rule), False
    return Shift(name, ratio=number, seed=seed, rule=rule), "ratio" in takes and number is not None
