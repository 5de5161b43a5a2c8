"""The three lines at the end of a run."""

import pytest

from harness.choice.of_run import lines
from harness.measures.metrics import pack_bits
from harness.records.rows import Row
from tests.harness.fake import fake_row

SOURCE = {"prior_access": "estimated", "label_access": "source", "test_access": "transductive"}
TEST = {"prior_access": "estimated", "label_access": "none", "test_access": "transductive"}
TOLD = {"prior_access": "oracle", "label_access": "none", "test_access": "inductive"}


def row(right: int, **given: str) -> Row:
    """A row that has `right` of each ten images of a class right."""
    bits = ([1] * right + [0] * (10 - right)) * 4
    return fake_row(top1=right / 10, correct_bits=pack_bits(bits), per_class_correct=[right] * 4, **given)


def test_the_best_of_each_situation() -> None:
    rows = [row(3), row(4, method="ride"), row(9, adapter="em", **TEST), row(10, adapter="oracle_prior", **TOLD)]
    head, nothing, images = lines(rows, ["backward_lt-50"])
    assert head.split() == ["best", "method", "+", "adapter", "top-1"]
    said = [" ".join(line.split()) for line in (nothing, images)]
    assert said[0] == "with nothing ride 40.0 % ahead of 1 other"
    assert said[1] == "with unlabelled test images sade + em 90.0 % ahead of all 2 others"


def test_who_has_more_also_has_the_rest() -> None:
    rows = [row(3), row(9, adapter="em", **TEST), row(5, adapter="em_bcts", **SOURCE)]
    assert "sade + em " in lines(rows, ["backward_lt-50"])[-1], "with source labels at hand em may be taken, too"


def test_rows_that_lack_a_shift_are_left_out() -> None:
    rows = [row(3), row(9, adapter="em", **TEST)]
    assert lines(rows, ["backward_lt-50", "uniform"]) == []
    assert lines([], ["uniform"]) == []


@pytest.mark.parametrize("count", [1, 2])
def test_the_heading_says_over_what(count: int) -> None:
    shifts = ["backward_lt-50", "uniform"][:count]
    rows = [row(3, shift=shift, indices_sha256=f"{shift:0>64}") for shift in shifts]
    assert ("mean of 2 shifts" in lines(rows, shifts)[0]) == (count == 2)
    assert max(map(len, lines(rows, shifts))) <= 100
