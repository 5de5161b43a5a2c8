"""The section on whether to adapt: regret against the better of the two, by shift family and method."""

import pytest

from harness import adapters
from harness.pages.blocks import blocks
from harness.pages.sections import whether
from harness.records.rows import Row
from tests.harness.fake import fake_row


def rows(rule: str, method: str, shift: str, never: float, always: float, followed: float) -> list[Row]:
    same = {"checkpoint_sha256": f"{method:0>64}", "indices_sha256": f"{shift:0>64}"}
    given = dict(zip(("mean", whether.RULES[rule], rule), (never, always, followed), strict=True))
    return [fake_row(adapter=name, method=method, shift=shift, top1=top1, **same) for name, top1 in given.items()]


def test_regret_is_against_the_better_of_the_two() -> None:
    made = [
        *rows("choose", "sade", "backward_lt-50", 0.5, 0.4, 0.4),
        *rows("choose", "sade", "forward_lt-50", 0.5, 0.7, 0.7),
        *rows("choose", "ride", "forward_lt-50", 0.5, 0.6, 0.5),
    ]
    (block,) = blocks(made)
    found = whether.section(block)
    assert found is not None
    by_family, by_method = found.tables
    last = by_family.rows[-1]
    assert last[:2] == ("all", 3)
    assert last[2:5] == pytest.approx((-0.3 / 3, -0.1 / 3, -0.2 / 3))
    assert last[5] == pytest.approx(1 / 3)
    assert last[6:] == pytest.approx((-0.1, -0.1))
    assert [row[0] for row in by_family.rows] == ["backward_lt", "forward_lt", "all"]
    assert [row[0] for row in by_method.rows] == ["ride", "sade", "all"]
    assert "3 test sets" in found.lead


def test_sets_without_all_three_are_left_out() -> None:
    (block,) = blocks(rows("choose_source", "sade", "uniform", 0.5, 0.6, 0.6)[:2])
    assert whether.section(block) is None


def test_rules_are_adapters() -> None:
    assert {*whether.RULES, *whether.RULES.values()} <= {name for name, _ in adapters.names()}
