"""Shifts in tables and figures, also those of a kind that is added by one entry."""

import re
from argparse import ArgumentParser

import numpy as np
import pytest

from harness.session.listing import listing
from harness.show.shifts import is_ordered, shift_order, short
from shifts.labels.kinds import KINDS, Pool, ShiftKind
from shifts.labels.selection import wanted_marginals
from shifts.labels.shift import Shift, class_counts, expand_shifts, published_shifts
from shifts.sets.arguments import add_shift_arguments


def test_a_name_that_tells_two_draws_of_a_shift_apart() -> None:
    assert short("backward_lt-50 1a2b3c") == "B50 1a2b3c"
    assert is_ordered("backward_lt-50 1a2b3c")
    assert sorted(["uniform", "forward_lt-5 b", "forward_lt-5 a"], key=shift_order)[-1] == "uniform"


def test_a_kind_is_added_by_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def halves(pool: Pool, ratio: float, seed: int) -> np.ndarray:
        first = np.random.RandomState(seed).permutation(len(pool.counts)) < len(pool.counts) // 2
        return np.where(first, pool.counts, (pool.counts / ratio).astype(np.int64))

    made_up = ShiftKind(
        "halved", ("ratio", "seed", "rule"), "halved-4-s1", "half of the classes are rare", counts=halves, letter="H"
    )
    monkeypatch.setitem(KINDS, "halved", made_up)
    assert re.search(r"\n  halved-4-s1 +half of the classes are rare\n", listing())
    parser = ArgumentParser()
    add_shift_arguments(parser)
    assert "halved-4-s1" in parser.format_help()
    assert Shift.parse("halved-4-s1") == Shift("halved", 4, seed=1)
    assert [str(shift) for shift in expand_shifts(["halved-s2"], [3, 5])[0]] == ["halved-3-s2", "halved-5-s2"]
    with pytest.raises(ValueError, match=r"its form is halved-4-s1 \(half of the classes are rare\)"):
        Shift.parse("halved-x")
    with pytest.raises(ValueError, match="halved takes no path"):
        Shift("halved", path="x")
    shift = Shift.parse("halved-4-s1-first_n")
    assert (shift.short, shift.family) == ("H4-s1-first_n", "halved-4-first_n")
    assert sorted(class_counts(shift, np.full(4, 20), np.arange(4))) == [5, 5, 20, 20]
    with pytest.raises(ValueError, match="needs one label an image"):
        wanted_marginals(shift, np.arange(4))
    wanted = [*map(str, published_shifts()), "natural", "halved-4-s1", "halved-4-s2"]
    assert sorted(sorted(wanted), key=shift_order) == wanted
    assert (short("halved-4-s1"), is_ordered("halved-4-s1")) == ("H4-s1", False)
