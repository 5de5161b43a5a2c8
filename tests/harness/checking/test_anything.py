"""Whatever a field of a row holds, the checks end with an answer: a stranger's row is no reason to fall over."""

from dataclasses import fields, replace
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.checking.data import AtHand
from harness.checking.examine import hold
from harness.checking.findings import Findings
from harness.records import label_rows, rows
from tests.harness.checking.test_check import label_some, some

AT_HAND = AtHand({})
TEXTS = [
    *("", "x", "évil\n", "a" * 64, "AAAA", "forward_lt", "uniform", "natural", "custom-x", "list-x", "dirichlet"),
    *("shuffled_lt-50-s1", "first-n", "sade:tau=x", "em:", "published", "embedded_mosaics", "cifar10", "evidence:x"),
]
BY_TYPE: dict[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(-(2**53), 2**53) | st.sampled_from([0, 1, -1, 2]),
    float: st.floats() | st.sampled_from([0.0, 0.5, 1.0]),
    str: st.sampled_from(TEXTS) | st.text(max_size=8),
}


@cache
def few() -> tuple[Any, ...]:
    """Rows of one network, single-label and multi-label."""
    chosen = [
        row for row in some() if row.method == "sade" and row.adapter in ("mean", "em") and row.shift != "uniform"
    ]
    return (*chosen, *label_some()[:2])


def other(value: Any) -> st.SearchStrategy[Any]:
    """Values of the same type: what a file can hold in this place."""
    if type(value) in BY_TYPE:
        return BY_TYPE[type(value)]
    if isinstance(value, list) and value and not isinstance(value[0], dict):
        entry = next((one for one in value if one is not None), None)
        return st.lists(BY_TYPE[type(entry)], max_size=12) | st.integers(0, len(value) - 1).flatmap(
            lambda place: BY_TYPE[type(entry)].map(lambda new: [*value[:place], new, *value[place + 1 :]])
        )
    if isinstance(value, list) and value:
        return st.sampled_from(list(value[0])).flatmap(
            lambda name: st.one_of(st.none(), *BY_TYPE.values()).map(lambda new: [value[0] | {name: new}, *value[1:]])
        )
    return st.just(value)


@given(st.data())
def test_the_checks_end_with_an_answer(data: st.DataObject) -> None:
    found = list(few())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(found) - 1))
        row = found[place]
        name = data.draw(st.sampled_from([field.name for field in fields(row)]))
        found[place] = replace(row, **{name: data.draw(other(getattr(row, name)))})
    single = [(str(number), row) for number, row in enumerate(found) if isinstance(row, rows.Row)]
    multi = [(str(number), row) for number, row in enumerate(found) if isinstance(row, label_rows.LabelRow)]
    findings = Findings()
    hold(single, multi, AT_HAND, findings)
    answers = findings.holds["numbers"] + len(findings.faults.get("numbers", []))
    assert answers == len(found)
