"""Control strength, fronts and hypervolumes: by hand, against brute force, and their invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.heads import lattice
from harness.studies.sweep.control import controllability, hypervolume, non_dominated

LEVELS = 5


def grids(aims: int) -> st.SearchStrategy[np.ndarray]:
    """Points whose coordinates are whole numbers of 0..4, so that volumes can be counted in unit cells."""
    point = st.lists(st.integers(0, LEVELS - 1), min_size=aims, max_size=aims)
    return st.lists(point, min_size=1, max_size=12).map(lambda points: np.array(points, dtype=np.float64))


def cells(points: np.ndarray) -> int:
    """Unit cells under at least one point."""
    axes = [np.arange(LEVELS)] * points.shape[1]
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, points.shape[1])
    return int((corners[None] < points[:, None]).all(axis=2).any(axis=0).sum())


@given(st.integers(1, 3).flatmap(grids))
def test_hypervolume_is_the_number_of_cells_below(points: np.ndarray) -> None:
    assert hypervolume(points) == pytest.approx(cells(points))
    assert hypervolume(points[non_dominated(points)]) == pytest.approx(cells(points)), "the front alone spans it"
    assert hypervolume(points[::-1]) == pytest.approx(hypervolume(points))


@given(st.integers(1, 3).flatmap(grids))
def test_non_dominated_by_definition(points: np.ndarray) -> None:
    kept = non_dominated(points)
    assert kept.any()
    for point, keep in zip(points, kept, strict=True):
        beaten = any((other >= point).all() and (other > point).any() for other in points)
        assert keep == (not beaten)


def test_hypervolume_by_hand_and_refused() -> None:
    assert hypervolume(np.array([[0.5, 0.4, 1.0]])) == pytest.approx(0.2)
    assert hypervolume(np.array([[0.5, 1.0, 1.0], [1.0, 0.5, 1.0]])) == pytest.approx(0.75)
    for bad in (np.zeros((0, 3)), np.array([[-0.1, 1.0]]), np.array([[np.nan, 1.0]]), np.zeros(3)):
        with pytest.raises(ValueError, match="hypervolume"):
            hypervolume(bad)


def test_control_is_a_rank_correlation() -> None:
    points = lattice(3)
    wanted = points[:, 2] - points[:, 0]
    for few, expected in [(np.exp(3 * wanted), 1.0), (-wanted, -1.0)]:
        assert controllability(points, np.zeros(len(points)), few) == pytest.approx(expected)
    # only ranks count, and shifting both groups changes nothing
    rng = np.random.default_rng(0)
    many, few = rng.random((2, len(points)))
    found = controllability(points, many, few)
    assert found == pytest.approx(controllability(points, many + 0.1, few + 0.1))
    # shares that ought to be equal but for rounding are ties
    noisy = points + 1e-15 * rng.choice([-1, 1], size=points.shape)
    assert found == controllability(noisy, many, few)


def test_no_control_without_a_group_or_where_nothing_moves() -> None:
    points = lattice(3, 2)
    some = np.arange(len(points)) / 10
    assert controllability(points, None, some) is None
    assert controllability(points, some, None) is None
    assert controllability(points, some, some + 0.1) is None, "rounding of equal differences is no signal"
    assert controllability(points[:1], some[:1], some[:1]) is None
