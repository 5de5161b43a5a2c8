"""Intervals and tests against scipy and published values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from harness.measures.statistics import holm, mcnemar, mean_sd, wilson


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_values_that_newcombe_prints(correct: int, n: int, low: float, high: float) -> None:
    assert wilson(correct, n) == pytest.approx((low, high), abs=5e-5)  # Newcombe, Stat. Med. 1998, table I


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (3, 7), (4321, 10_000), (10_000, 10_000)])
def test_wilson_equals_scipy(correct: int, n: int, level: float) -> None:
    reference = binomtest(correct, n).proportion_ci(level, method="wilson")
    assert wilson(correct, n, level) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.parametrize(("correct", "n", "level"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_wilson_refuses_what_is_no_proportion(correct: int, n: int, level: float) -> None:
    with pytest.raises(ValueError, match="no Wilson interval"):
        wilson(correct, n, level)


def paired(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    sizes = [both, only_a, only_b, neither]
    return np.repeat([True, True, False, False], sizes), np.repeat([True, False, True, False], sizes)


@pytest.mark.parametrize("table", [(10, 0, 0, 5), (50, 9, 3, 2), (0, 5, 5, 0), (900, 40, 61, 10), (1, 0, 8, 1)])
def test_mcnemar_equals_scipy(table: tuple[int, int, int, int]) -> None:
    a, b = paired(*table)
    _, only_a, only_b, _ = table
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, rel=1e-10)
    assert mcnemar(a, b) == mcnemar(b, a)


def test_mcnemar_refuses_other_images() -> None:
    with pytest.raises(ValueError, match="same images"):
        mcnemar([True, False], [True])


def test_mean_and_spread() -> None:
    several = mean_sd([0.651, 0.645, 0.660])
    assert several.sd == pytest.approx(np.std([0.651, 0.645, 0.660], ddof=1))
    assert several.text(scale=100) == "65.2 ± 0.8"


def test_one_value_has_no_spread() -> None:
    single = mean_sd([0.651])
    assert (single.mean, single.sd, single.n) == (0.651, None, 1)
    assert single.text(scale=100) == "65.1"
    assert "±" not in single.text()


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_no_mean_of_nothing(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        mean_sd(values)


def holm_by_definition(p: list[float], level: float) -> list[bool]:
    """Which tests Holm's procedure rejects: the smallest p against level / m, the next against level / (m - 1)."""
    rejected = [False] * len(p)
    for step, number in enumerate(sorted(range(len(p)), key=lambda one: p[one])):
        if p[number] * (len(p) - step) > level:
            break
        rejected[number] = True
    return rejected


def test_holm_gives_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), max_size=12), st.sampled_from([0.01, 0.05, 0.2, 0.9]), st.randoms())
def test_holm_equals_its_definition(p: list[float], level: float, random: object) -> None:
    adjusted = holm(p)
    assert (adjusted <= level).tolist() == holm_by_definition(p, level)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= 1).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    shuffled = list(range(len(p)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert holm([p[number] for number in shuffled]).tolist() == adjusted[shuffled].tolist()


@pytest.mark.parametrize("p", [[-0.1], [1.1], [float("nan")], [[0.1]]])
def test_holm_refuses_what_is_no_p(p: list[float]) -> None:
    with pytest.raises(ValueError, match="p values"):
        holm(p)
