"""What stored rows say of the risk bound's ranking and of SADE's premise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.rows import Row
from harness.studies.why.bound import choice, correlate, distinct, points, spearman
from harness.studies.why.stability import trusts
from tests.harness.fake import fake_row


def ranked(top1: dict[str, float], tv: dict[str, float], shift: str = "uniform", **changes: object) -> list[Row]:
    """One row of `mean` a method, single networks unless told otherwise."""
    return [
        fake_row(
            **{
                "method": method,
                "shift": shift,
                "top1": top1[method],
                "tv_experts_test_mean": tv[method],
                "etvd": 0.0,
                "mean_experts": 1.0,
                "checkpoint_sha256": f"{method}-{changes.get('train_seed', 0)}",
                **changes,
            }
        )
        for method in top1
    ]


def test_rank_correlation_of_constructed_rows() -> None:
    falling = points(ranked({"a": 0.9, "b": 0.8, "c": 0.5, "d": 0.4}, {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.7}))
    assert correlate(falling, "bound").value == pytest.approx(-1)
    rising = points(ranked({"a": 0.4, "b": 0.5, "c": 0.8, "d": 0.9}, {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.7}))
    assert correlate(rising, "bound").value == pytest.approx(1)
    # Ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15) = .6
    mixed = points(ranked({"a": 0.5, "b": 0.4, "c": 0.9, "d": 0.8}, {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.7}))
    assert correlate(mixed, "tv_experts_test_mean").value == pytest.approx(0.6)
    assert correlate(mixed, "etvd").value is None


def test_the_bound_weights_the_distance_between_experts() -> None:
    (point,) = points(ranked({"sade": 0.7}, {"sade": 0.4}, etvd=0.9, mean_experts=3.0))
    assert point.bound == pytest.approx(0.4 + 2 / 3 * 0.9)
    (alone,) = points(ranked({"softmax": 0.7}, {"softmax": 0.4}))
    assert alone.bound == 0.4


def test_the_interval_is_the_range_over_models() -> None:
    tv = {"a": 0.1, "b": 0.2, "c": 0.3}
    rows = ranked({"a": 0.9, "b": 0.8, "c": 0.7}, tv, train_seed=0)
    rows += ranked({"a": 0.7, "b": 0.8, "c": 0.9}, tv, train_seed=1)
    rows += ranked({"a": 0.8, "b": 0.9, "c": 0.7}, tv, train_seed=2)
    found = correlate(points(rows), "bound")
    assert (found.low, found.high, found.points, found.models) == (pytest.approx(-1), pytest.approx(1), 3, 3)
    assert found.value == pytest.approx((-1 + 1 - 0.5) / 3)


def test_only_models_with_all_points_count() -> None:
    tv = {"a": 0.1, "b": 0.2, "c": 0.3}
    rows = ranked({"a": 0.9, "b": 0.8, "c": 0.7}, tv) + ranked({"a": 0.1, "b": 0.8}, tv, train_seed=1)
    found = correlate(points(rows), "bound")
    assert (found.value, found.models) == (pytest.approx(-1), 1)


def test_too_few_points_have_no_correlation() -> None:
    found = correlate(points(ranked({"a": 0.9, "b": 0.8}, {"a": 0.1, "b": 0.2})), "bound")
    assert (found.value, found.low, found.points) == (None, None, 2)
    assert correlate([], "bound").value is None


def test_only_the_mean_of_experts_is_what_the_bound_is_about() -> None:
    rows = ranked({"a": 0.9}, {"a": 0.1}, adapter="em")
    assert points(rows) == []


def test_twins_count_once() -> None:
    same = {"a": 0.9, "b": 0.9, "c": 0.7}
    tv = {"a": 0.1, "b": 0.1, "c": 0.3}
    rows = ranked(same, tv) + ranked(same, tv, shift="backward_lt-50")
    for place, row in enumerate(rows):
        if row.method == "b":
            rows[place] = fake_row(**{**vars(row), "checkpoint_sha256": "a-0"})
    kept, twins = distinct(points(rows))
    assert {point.method for point in kept} == {"a", "c"}
    assert len(kept) == 4
    assert twins == {"b": "a"}


def test_whom_the_bound_names_and_what_that_costs() -> None:
    made = points(ranked({"a": 0.6, "b": 0.8, "c": 0.9}, {"a": 0.1, "b": 0.1 + 1e-12, "c": 0.5}))
    named, regret = choice(made, "bound")
    assert named == ["a", "b"]
    assert regret == pytest.approx(0.2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=9), st.randoms())
def test_rank_correlation_lies_within_one_and_needs_no_order(pairs: list[tuple[int, int]], random: object) -> None:
    first, second = zip(*pairs, strict=True)
    found = spearman(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
        return
    assert found is not None
    assert -1 - 1e-9 <= found <= 1 + 1e-9
    random.shuffle(pairs)  # type: ignore[attr-defined]
    assert spearman(*zip(*pairs, strict=True)) == pytest.approx(found)
    assert spearman(first, [-value for value in second]) == pytest.approx(-found)
    assert spearman([value**3 for value in first], second) == pytest.approx(found)


def weighted(weights: list[float], stable: list[float], sha: str, adapter: str = "sade", **changes: object) -> Row:
    stability = {"all": stable, "many": stable[::-1], "medium": None, "few": stable}
    views = stability if adapter == "sade" else None
    return fake_row(adapter=adapter, weights=weights, view_stability=views, checkpoint_sha256=sha, **changes)


def test_trust_of_constructed_rows() -> None:
    rows = [
        weighted([0.7, 0.2, 0.1], [0.9, 0.8, 0.7], "x", delta_to_mean=0.1),
        weighted([0.2, 0.2, 0.6], [0.8, 0.9, 0.7], "y", delta_to_mean=-0.2, train_seed=1),
        weighted([1.0, 0.0, 0.0], [], "x", adapter="best_expert"),
        weighted([0.0, 0.0, 1.0], [], "y", adapter="best_expert", train_seed=1),
    ]
    (found,) = trusts(rows)
    assert (found.method, found.shift, found.models) == ("sade", "backward_lt-50", 2)
    assert found.weights.tolist() == pytest.approx([0.45, 0.2, 0.35])
    assert set(found.stability) == {"all", "many", "few"}
    assert found.stability["many"].tolist() == pytest.approx([0.7, 0.85, 0.85])
    assert found.gain == pytest.approx(-0.05)
    assert (found.trusted_stable, found.trusted_best, found.stable_best) == (0.5, 1.0, 0.5)


def test_trust_without_a_best_expert_says_nothing_of_it() -> None:
    (found,) = trusts([weighted([0.7, 0.3], [0.9, 0.8], "x")])
    assert (found.trusted_best, found.stable_best) == (None, None)
    assert found.trusted_stable == 1
