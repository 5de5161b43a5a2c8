"""Ranks over families of shifts: who is first when families are drawn anew, and whether a choice hangs on the axis."""

import random
from dataclasses import replace

import numpy as np
import pytest

from harness.choice.answers import answers, by_class, by_situation
from harness.choice.contenders import Standing
from harness.choice.entrants import PUBLISHED, Contest, contests
from harness.choice.families import AXIS, Field, drawn_families, family, field_of
from harness.choice.text import render
from harness.choice.wording import stability
from harness.records.rows import Row
from tests.harness.choice.test_answer import EM, SADE, names, setting

FREE = ("dirichlet-1-s0", "dirichlet-1-s1", "shuffled_lt-50-s0")
A_FIRST = Standing(1, 1, 1.0)


def both(
    on_axis: float, elsewhere: float, method: str, seeds: tuple[int | None, ...] = (0,), **changes: object
) -> list[Row]:
    """A method with one skill on the axis and another on order-free shifts."""
    return [
        *setting(on_axis, method, seeds, **changes),
        *setting(elsewhere, method, seeds, shifts=FREE, **changes),
    ]


def field(rows: list[Row]) -> tuple[list[Contest], Field]:
    found = contests(rows)
    return found, field_of(found)


def standings(rows: list[Row], families: list[str] | None = None) -> dict[str, Standing]:
    """Method -> how it stands."""
    (contest, *_), made = field(rows)
    by_setting = made.standings(contest.entrants, families)
    return {one.first.method: by_setting[one.setting] for one in contest.entrants if one.setting in by_setting}


def test_the_published_sets_are_one_family() -> None:
    assert {family(shift) for shift in PUBLISHED} == {AXIS}
    assert [family(shift) for shift in FREE] == ["dirichlet", "dirichlet", "shuffled_lt"]


def test_families_are_drawn_with_replacement_and_count_alike() -> None:
    shares = drawn_families(100_000, 3)
    assert np.allclose(shares.sum(axis=1), 1)
    assert set(np.unique((3 * shares).round(9))) == {0, 1, 2, 3}
    assert (shares[:, 0] == 1).mean() == pytest.approx(1 / 27, abs=0.002)
    assert np.allclose(shares.mean(axis=0), 1 / 3, atol=0.002)


def test_who_is_far_better_everywhere_is_always_first() -> None:
    found = standings([*both(0.9, 0.9, "a"), *both(0.5, 0.5, "b")])
    assert found == {"a": A_FIRST, "b": Standing(2, 2, 0.0)}


def test_first_places_follow_from_the_families_drawn() -> None:
    """One better on the axis, the other by as much on two families: first where most of those drawn are its own."""
    found = standings([*both(0.9, 0.5, "a"), *both(0.5, 0.9, "b")])
    axis_twice_or_more = 3 * (1 / 3) ** 2 * (2 / 3) + (1 / 3) ** 3
    assert found["a"].first == pytest.approx(axis_twice_or_more, abs=0.04)
    assert found["a"].first + found["b"].first == pytest.approx(1)
    assert [(one.low, one.high) for one in found.values()] == [(1, 2), (1, 2)]


def test_of_some_families_only_these_count() -> None:
    rows = [*both(0.9, 0.5, "a"), *both(0.5, 0.9, "b")]
    assert standings(rows, [AXIS])["a"] == A_FIRST
    assert standings(rows, ["dirichlet", "shuffled_lt"])["b"] == A_FIRST


def test_equal_contenders_share_first_places() -> None:
    rows = both(0.6, 0.6, "a")
    found = standings([*rows, *[replace(row, method="b", row_id=f"b{row.row_id}") for row in rows]])
    assert found == {"a": Standing(1, 1, 0.5), "b": Standing(1, 1, 0.5)}


def test_near_contenders_take_turns_by_images_and_by_seeds() -> None:
    near = standings([*both(0.60, 0.60, "a"), *both(0.61, 0.61, "b")])
    assert all(0.05 < one.first < 0.95 for one in near.values())
    apart = [*both(0.9, 0.9, "a", (0, 1)), *both(0.8, 0.8, "b", (0, 1))]
    low = [row for row in setting(0.3, "a", (1,)) if row.shift in PUBLISHED]
    low += setting(0.3, "a", (1,), shifts=FREE)
    swayed = [row for row in apart if (row.method, row.train_seed) != ("a", 1)] + low
    assert standings(apart)["a"].first > 0.9 > standings(swayed)["a"].first


def test_order_of_rows_and_names_do_not_matter() -> None:
    rows = [*both(0.60, 0.63, "a", (0, 1)), *both(0.62, 0.61, "b", (0, 1)), *both(0.61, 0.62, "c")]
    expected = standings(rows)
    random.Random(0).shuffle(rows)
    assert standings(rows) == expected
    renamed = {"a": "z", "b": "y", "c": "x"}
    found = standings([replace(row, method=renamed[row.method]) for row in rows])
    for before, after in renamed.items():
        assert found[after].first == pytest.approx(expected[before].first, abs=0.03)


def test_a_field_holds_those_that_have_all_families_with_the_same_networks() -> None:
    rows = [*both(0.6, 0.6, "a"), *setting(0.7, "b"), *setting(0.6, "c"), *setting(0.8, "c", (1,), shifts=FREE)]
    _, made = field(rows)
    assert len(made.places) == 1
    assert made.accuracy.shape[1:] == (1, 3)
    assert made.accuracy.mean(axis=0) == pytest.approx(np.full((1, 3), 0.6), abs=0.1)
    (_, made) = field([*setting(0.7, "b"), *setting(0.6, "c", shifts=FREE)])
    assert (made.places, made.accuracy.shape[1]) == ({}, 0)


def test_an_unknown_pool_keeps_families_apart() -> None:
    rows = both(0.6, 0.6, "a")
    hidden = [replace(row, indices_sha256="0" * 64) if row.shift == "uniform" else row for row in rows]
    (_, known), (_, unknown) = field(rows), field(hidden)
    together = np.corrcoef(known.accuracy[:, 0, :].T)[0, 1:]
    apart = np.corrcoef(unknown.accuracy[:, 0, :].T)[0, 1:]
    assert (together > 0.2).all()
    assert (np.abs(apart) < 0.1).all()


def test_a_choice_that_hangs_on_the_axis_alone_is_said_to() -> None:
    found, made = field([*both(0.9, 0.5, "a"), *both(0.5, 0.9, "b")])
    axis, free = (by_situation(contest, made)[0] for contest in sorted(found, key=lambda one: one.shifts != PUBLISHED))
    assert names(axis)[0] == "a + mean"
    assert axis.stability.startswith(
        "Over families of shifts (the axis, dirichlet and shuffled_lt) it has rank 1 to 2 of 2"
    )
    hangs = (
        "The choice hangs on the axis alone: on dirichlet and shuffled_lt it has rank 2, and b + mean is first in 100%"
    )
    assert hangs in axis.stability
    assert (
        "It does not hold on the axis, where it has rank 2, and a + mean is first in 100% of resamples."
        in free.stability
    )


def test_a_choice_that_holds_everywhere_is_not() -> None:
    found, made = field([*both(0.9, 0.9, "a"), *both(0.5, 0.5, "b")])
    for contest in found:
        (one,) = by_class(contest, made)
        assert one.stability.endswith("it has rank 1 of 2 and is first in 100% of resamples.")
        assert one.best_mean.standing == A_FIRST


def test_families_that_were_not_measured_are_named() -> None:
    found, made = field([*setting(0.9, "a"), *setting(0.5, "b")])
    (one,) = by_class(found[0], made)
    assert one.stability == "The choice hangs on the axis alone: no other family of shifts was measured."
    found, made = field([*setting(0.9, "a"), *both(0.5, 0.5, "b"), *both(0.4, 0.4, "c")])
    (one,) = by_class(next(contest for contest in found if contest.shifts == PUBLISHED), made)
    assert one.stability == "The choice hangs on the axis alone: it was not measured on dirichlet and shuffled_lt."
    assert [contender.standing is None for contender in one.contenders] == [True, False, False]
    found, made = field([*setting(0.9, "a", shifts=FREE[:2]), *setting(0.5, "b", shifts=FREE[:2])])
    (one,) = by_class(found[0], made)
    assert one.stability == "The choice hangs on dirichlet alone: no other family of shifts was measured."


def test_of_one_contender_nothing_is_said() -> None:
    assert stability([AXIS, "dirichlet"], ["dirichlet"], True, {"a": A_FIRST}, "a", A_FIRST, None) == ""


def test_answers_for_the_page_are_without_families() -> None:
    rows = [*both(0.9, 0.5, "a"), *both(0.5, 0.9, "b")]
    assert all(one.stability == "" and one.best_mean.standing is None for one in answers(rows))


def test_the_text_has_ranks_and_sentences_and_fits() -> None:
    rows = [*both(0.9, 0.5, "a"), *both(0.5, 0.9, "b"), *both(0.7, 0.7, "a", **SADE), *both(0.6, 0.6, "a", **EM)]
    text = render(rows, 80)
    flat = " ".join(text.split())
    assert "rank first" in flat
    assert "The choice hangs on the axis alone: on dirichlet and shuffled_lt it has rank" in flat
    assert "families count alike" in flat
    published = text[: text.index("over dirichlet")] if "over dirichlet" in text else text
    assert max(map(len, published.splitlines())) <= 80
