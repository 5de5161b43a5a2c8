"""Draws are pinned image for image; source images come from what a draw left out."""

import numpy as np
import pytest

from shifts.common.errors import BadInput
from shifts.labels.draw import draw, draw_with_replacement, indices_sha256, left_out

LABELS = np.arange(1000) * 7 % 10  # 100 images a class, interleaved


def test_pinned_draw() -> None:
    counts = np.array([100, 60, 35, 21, 12, 7, 4, 2, 1, 0])
    assert indices_sha256(draw(LABELS, counts)) == "5a2ee500f2c102d8ffbf76f57dc7c92cc9ba324a56171d5df32256bfede0af65"
    assert (
        indices_sha256(draw(LABELS, counts, seed=1))
        == "b0b0e962ddba7b921e0b20590e853e3c459f717c5f6aca564c16cf22da2eb2d3"
    )


def test_the_generator_is_shared_by_the_classes_in_order() -> None:
    generator = np.random.RandomState(5)
    expected = []
    for c in range(10):
        members = np.flatnonzero(c == LABELS)
        generator.shuffle(members)
        expected += members[:3].tolist()
    assert draw(LABELS, np.full(10, 3), seed=5).tolist() == expected


def test_first_n_and_too_few() -> None:
    assert draw(np.array([1, 0, 1, 0, 1]), np.array([1, 2]), "first-n").tolist() == [1, 0, 2]
    with pytest.raises(BadInput, match="class 1 has 3 images in the pool; 4 are asked for"):
        draw(np.array([1, 0, 1, 0, 1]), np.array([1, 4]))
    with pytest.raises(BadInput, match="unknown draw rule"):
        draw(LABELS, np.full(10, 1), "first_n")


def test_hash_ignores_order() -> None:
    # echo of the definition: two little-endian int64, sorted
    import hashlib

    expected = hashlib.sha256(bytes([3] + [0] * 7 + [9] + [0] * 7)).hexdigest()
    assert indices_sha256(np.array([9, 3])) == expected


def test_left_out() -> None:
    drawn = draw(LABELS, np.array([100, 90, 50, 0, 0, 0, 0, 0, 0, 0]))
    indices, seen = left_out(LABELS, drawn, classes=10, per_class=50)
    assert np.bincount(LABELS[indices], minlength=10).tolist() == [50] * 10
    assert seen == 50 + 40 == np.isin(indices, drawn).sum()
    assert len(set(indices.tolist())) == 500
    everything, seen = left_out(LABELS, drawn, classes=10)
    assert (len(everything), seen) == (1000, 240)


def test_with_replacement() -> None:
    counts = np.array([0, 500, 3] + [1] * 7)
    drawn = draw_with_replacement(LABELS, counts, seed=3)
    assert np.bincount(LABELS[drawn], minlength=10).tolist() == counts.tolist()
    assert drawn.tolist() == draw_with_replacement(LABELS, counts, seed=3).tolist()
    assert drawn.tolist() != draw_with_replacement(LABELS, counts, seed=4).tolist()
    # each of 100 images five times on average, not five times each
    often = np.bincount(drawn[LABELS[drawn] == 1], minlength=1000)[LABELS == 1]
    assert 0.5 < often.var() / often.mean() < 2
    with pytest.raises(BadInput, match="class 2 has no image in the pool; 4 are asked for"):
        draw_with_replacement(np.array([0, 1]), np.array([1, 0, 4]))
