"""The Shift value, its text, and what a command line expands to."""

import pytest

from shifts.common.errors import BadInput
from shifts.labels.shift import Shift, expand_shifts, published_shifts


@pytest.mark.parametrize(
    ("text", "shift"),
    [
        ("backward_lt-50", Shift("backward_lt", 50)),
        ("forward_lt-2.5", Shift("forward_lt", 2.5)),
        ("uniform", Shift("uniform")),
        ("natural", Shift("natural")),
        ("uniform-first_n", Shift("uniform", rule="first-n")),
        ("shuffled_lt-50-s3", Shift("shuffled_lt", 50, seed=3)),
        ("shuffled_lt-50-s3-first_n", Shift("shuffled_lt", 50, seed=3, rule="first-n")),
        ("dirichlet-0.1-s7", Shift("dirichlet", alpha=0.1, seed=7)),
        ("dirichlet-1e-05-s0", Shift("dirichlet", alpha=1e-5)),
        ("custom-a/b-50.json", Shift("custom", path="a/b-50.json")),
        ("custom-a.json-first_n", Shift("custom", path="a.json", rule="first-n")),
        ("list-a list.txt", Shift("list", path="a list.txt")),
    ],
)
def test_text_and_value(text: str, shift: Shift) -> None:
    assert Shift.parse(text) == shift
    assert str(shift) == text


def test_short_forms() -> None:
    assert str(Shift.parse("backward_lt")) == "backward_lt-50"
    assert str(Shift.parse("shuffled_lt")) == "shuffled_lt-50-s0"
    assert str(Shift.parse("dirichlet-0.5")) == "dirichlet-0.5-s0"
    assert len({Shift.parse("backward_lt"), Shift("backward_lt", 50.0)}) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backwrd_lt-50", "unknown shift 'backwrd_lt'; allowed: backward_lt"),
        ("backward_lt-0.5", "finite number >= 1"),
        ("backward_lt-x", "its form is backward_lt-50"),
        ("backward_lt-50-s3", "backward_lt takes no seed"),
        ("uniform-3", "uniform takes no ratio"),
        ("natural-s3", "natural takes no seed"),
        ("dirichlet", "needs its alpha: dirichlet-0.1-s7"),
        ("dirichlet-0", "above 0"),
        ("shuffled_lt-50-s99999999999", "seed"),
        ("custom", "needs its path: custom-FILE.json"),
        ("list", "needs its path: list-FILE"),
        ("", "unknown shift"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Shift.parse(text)


def test_expand() -> None:
    eleven, notes = expand_shifts(["all"], None)
    assert [str(s) for s in eleven][4:7] == ["forward_lt-2", "uniform", "backward_lt-2"]
    assert (len(eleven), notes) == (11, [])
    both, _ = expand_shifts(["forward_lt", "backward_lt"], [2, 5])
    assert [str(s) for s in both] == ["forward_lt-2", "forward_lt-5", "backward_lt-2", "backward_lt-5"]
    mixed, notes = expand_shifts(["uniform", "backward_lt-25", "shuffled_lt-s4", "backward_lt"], [25])
    assert [str(s) for s in mixed] == ["uniform", "backward_lt-25", "shuffled_lt-25-s4"]
    assert len(notes) == 2
    assert "keeps its own ratio" in notes[1]
    assert expand_shifts(["all", "uniform"], None)[0] == published_shifts()
    assert [str(s) for s in expand_shifts(["backward_lt"], None)[0]] == ["backward_lt-50"]
