"""Rows in the order of the report: blocks, lines, labels, order of shifts, cells."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.access import Access
from harness.pages.blocks import blocks
from harness.show import cells
from harness.show.access import SITUATIONS, situation
from harness.show.shifts import is_ordered, shift_order
from shifts.labels.shift import published_shifts
from tests.harness.fake import fake_row
from tests.harness.pages.made import measured

PUBLISHED = [str(shift) for shift in published_shifts()]


def test_data_training_set_and_recipe_are_never_mixed() -> None:
    found = [
        fake_row(),
        fake_row(dataset="cifar100"),
        fake_row(recipe="published", recipe_sha256="p" * 64),
        fake_row(train_imbalance=10.0),
        fake_row(train_imbalance=None),
        fake_row(selection="best-on-test"),
    ]
    made = blocks(found)
    assert [block.title for block in made] == [
        "cifar100, train imbalance 100, recipe quick",
        "embedded, train imbalance 10, recipe quick",
        "embedded, train imbalance 100, recipe published",
        "embedded, train imbalance 100, recipe quick, checkpoints chosen best-on-test",
        "embedded, train imbalance 100, recipe quick, checkpoints chosen last",
        "embedded, natural train counts, recipe quick",
    ]
    assert all(len(block.rows) == 1 for block in made)
    assert len({block.slug for block in made}) == len(made)
    assert [block.title for block in blocks(reversed(found))] == [block.title for block in made]


def test_lines_hold_the_means_over_seeds_by_situation_and_rank() -> None:
    found = measured()
    (block,) = blocks(found)
    assert block.shifts == tuple(PUBLISHED)
    assert block.seeds == 2
    assert [(line.adapter, line.situation) for line in block.lines] == [
        ("mean", "inductive"),
        ("sade", "transductive"),
        ("em", "transductive"),
        ("oracle_prior", "told"),
    ]
    for line in block.lines:
        for shift, entry in line.entries.items():
            own = [row.top1 for row in found if (row.adapter, row.shift) == (line.adapter, shift)]
            assert entry["top1"]["mean"] == pytest.approx(sum(own) / 2)
        assert line.mean == pytest.approx(sum(entry["top1"]["mean"] for entry in line.entries.values()) / 11)


def test_labels_tell_apart_what_differs() -> None:
    found = [
        fake_row(backbone="resnet8"),
        fake_row(backbone="resnet32"),
        fake_row(adapter="sade", views=3),
        fake_row(adapter="sade", views=1),
        fake_row(method="ride"),
    ]
    (block,) = blocks(found)
    assert {(line.method, line.adapter) for line in block.lines} == {
        ("sade (resnet8)", "mean"),
        ("sade (resnet32)", "mean"),
        ("sade", "sade (3 views)"),
        ("sade", "sade (1 views)"),
        ("ride", "mean"),
    }


def test_rows_of_superseded_versions_are_left_out() -> None:
    old, new = fake_row(adapter_version=1, top1=0.1), fake_row(adapter_version=2, top1=0.9)
    (block,) = blocks([old, new])
    assert [row.row_id for row in block.rows] == [new.row_id]
    assert block.lines[0].mean == 0.9


def test_methods_that_lack_shifts_come_last() -> None:
    found = [fake_row(method="whole", shift=shift, top1=0.3, indices_sha256=shift) for shift in PUBLISHED]
    (block,) = blocks([fake_row(method="part", top1=0.9), *found])
    assert block.methods == ["whole", "part"]


@pytest.mark.parametrize(
    ("access", "key"),
    [
        (("none", "none", "inductive"), "inductive"),
        (("estimated", "none", "transductive"), "transductive"),
        (("estimated", "none", "stream"), "stream"),
        (("estimated", "source", "stream"), "source"),
        (("none", "source", "inductive"), "source"),
        (("oracle", "none", "inductive"), "told"),
        (("oracle", "source", "inductive"), "told"),
        (("none", "test", "transductive"), "told"),
    ],
)
def test_whoever_was_told_the_truth_is_an_upper_reference(access: tuple[str, str, str], key: str) -> None:
    assert situation(Access(*access)) == key
    assert key in SITUATIONS


def test_shifts_run_from_forward_to_backward_and_then_by_seed() -> None:
    others = ["shuffled_lt-50-s2", "shuffled_lt-50-s10", "dirichlet-0.1-s7", "dirichlet-1-s0", "custom-a-b.json"]
    wanted = ["forward_lt-100", *PUBLISHED, "backward_lt-100", *others]
    assert sorted(sorted(wanted), key=shift_order) == wanted
    assert [shift for shift in wanted if is_ordered(shift)] == ["forward_lt-100", *PUBLISHED, "backward_lt-100"]


def test_one_line_where_only_the_shift_differs() -> None:
    row = fake_row()
    (block,) = blocks([row, replace(row, shift="uniform", row_id="other", indices_sha256="u")])
    assert len(block.lines) == 1
    assert list(block.lines[0].entries) == ["uniform", "backward_lt-50"]


@pytest.mark.parametrize(
    ("heading", "value", "shown"),
    [
        ("top-1 %", 0.7174, "71.7"),
        ("gain, points", 0.0312, "+3.1"),
        ("gain, points", -0.0004, "0.0"),
        ("TV", 0.82855, "0.829"),
        ("n", 1394, "1,394"),
        ("best", True, "yes"),
        ("few %", None, "-"),
        ("method", "sade", "sade"),
    ],
)
def test_cells(heading: str, value: cells.Cell, shown: str) -> None:
    assert cells.text(heading, value) == shown


@given(st.floats(-1, 1))
def test_a_signed_difference_is_never_minus_zero(value: float) -> None:
    shown = cells.points(value)
    assert shown not in ("-0.0", "+0.0")
    assert float(shown) == pytest.approx(100 * value, abs=0.05 + 1e-9)


def test_names_in_a_sentence() -> None:
    assert cells.listed([]) == ""
    assert cells.listed(["a"]) == "a"
    assert cells.listed(["a", "b", "c"]) == "a, b and c"
    assert cells.listed(list("abcdefg"), 2) == "a, b and 5 more"
