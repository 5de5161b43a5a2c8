"""What rows say of the same images, without their indices."""

from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.choice.pairs import correctness, image_classes, places, pool_counts
from harness.measures.metrics import evaluate
from harness.records.rows import Row, load_all
from shifts.labels.draw import draw, indices_sha256
from tests.harness.fake import fake_row

REFERENCE = Path(__file__).parents[3] / "results" / "reference"


@cache
def reference() -> list[Row]:
    """The committed rows of the embedded data without adaptation, whose predictions do not depend on the draw."""
    return [row for row in load_all(REFERENCE) if row.dataset == "embedded" and row.adapter == "mean"]


def row_of(right: np.ndarray, labels: np.ndarray, drawn: np.ndarray, **changes: object) -> Row:
    """The row of a draw, measured as a run measures it. right: of each image of the pool."""
    classes = int(labels.max()) + 1
    guesses = np.where(right, labels, (labels + 1) % classes)
    metrics = evaluate(np.eye(classes)[guesses[drawn]], labels[drawn], np.ones(classes, int), drawn)
    return fake_row(
        n=metrics.n,
        top1=metrics.top1,
        per_class_total=list(metrics.per_class_total),
        per_class_correct=list(metrics.per_class_correct),
        correct_bits=metrics.correct_bits,
        indices_sha256=indices_sha256(drawn),
        **changes,
    )


@given(st.data())
def test_places_find_the_images_again(data: st.DataObject) -> None:
    """Of any pool, in any order of labels, by either rule, under any seed."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    pool = np.array(data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=5)))
    counts = np.array([data.draw(st.integers(0, size)) for size in pool])
    counts[0] = max(counts[0], 1)
    rule, seed = data.draw(st.sampled_from(["seeded-shuffle", "first-n"])), data.draw(st.integers(0, 3))
    labels = rng.permutation(np.repeat(np.arange(len(pool)), pool))
    right = rng.random(len(labels)) < 0.5
    whole = row_of(right, labels, np.arange(len(labels)))
    row = row_of(right, labels, draw(labels, counts, rule, seed), shift_rule=rule, draw_seed=seed)

    known = pool_counts([row, whole])
    assert known[row.test_fingerprint].tolist() == pool.tolist()
    found = places(row, known[row.test_fingerprint])
    assert found is not None
    assert correctness(row).tolist() == correctness(whole)[found].tolist()
    assert image_classes(row).tolist() == image_classes(whole)[found].tolist()


def test_a_pool_is_known_only_from_a_draw_of_all_of_it() -> None:
    labels, right = np.repeat([0, 1], 5), np.ones(10, bool)
    part = row_of(right, labels, np.array([0, 1, 5]))
    assert pool_counts([part]) == {}
    assert places(part, None) is None
    assert places(fake_row(shift_rule=None), np.array([10, 10, 10, 10])) is None


def test_the_reference_rows_agree_image_by_image() -> None:
    """Without adaptation an image is right or wrong whatever the draw; so a rebuilt draw can be checked."""
    pools = pool_counts(reference())
    whole = {row.checkpoint_sha256: correctness(row) for row in reference() if row.shift == "uniform"}
    checked = 0
    for row in reference():
        found = places(row, pools[row.test_fingerprint])
        if found is not None and row.checkpoint_sha256 in whole:
            assert (correctness(row) == whole[row.checkpoint_sha256][found]).all()
            checked += row.shift != "uniform"
    assert checked >= 300
