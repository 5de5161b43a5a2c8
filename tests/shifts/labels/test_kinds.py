"""The table of kinds: what a shift says of itself."""

import pytest

from shifts.labels.kinds import KINDS, ShiftKind
from shifts.labels.shift import Shift


@pytest.mark.parametrize(
    ("text", "short_form", "family"),
    [
        ("forward_lt-50", "F50", "forward_lt-50"),
        ("uniform", "U", "uniform"),
        ("backward_lt-2.5-first_n", "B2.5-first_n", "backward_lt-2.5-first_n"),
        ("uniform-first_n", "U-first_n", "uniform-first_n"),
        ("shuffled_lt-50-s3-first_n", "shuffled_lt-50-s3-first_n", "shuffled_lt-50-first_n"),
        ("dirichlet-0.1-s7", "dirichlet-0.1-s7", "dirichlet-0.1"),
        ("custom-a-s3.json", "custom-a-s3.json", "custom-a-s3.json"),
        ("list-my list.txt", "list-my list.txt", "list-my list.txt"),
    ],
)
def test_short_form_and_family(text: str, short_form: str, family: str) -> None:
    assert Shift.parse(text).short == short_form
    assert Shift.parse(text).family == family


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_example_of_a_kind_is_one_and_has_all_that_it_takes(kind: ShiftKind) -> None:
    shift = Shift.parse(kind.example)
    assert (shift.kind, str(shift)) == (kind.name, kind.example)
    given = {field for field in ("ratio", "alpha", "seed", "rule", "path") if getattr(shift, field) is not None}
    assert given == set(kind.takes)
    assert (kind.side is None) == (kind.letter == ""), "letters are for shifts on the line"
