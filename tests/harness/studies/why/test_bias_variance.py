"""Bias and variance of the 0-1 loss, the hardest negative, group means and the jackknife."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import stdtrit

from harness.studies.why.bias_variance import PARTS, by_group, decompose, hardest_negative, jackknife, tied

CLASSES = 4


def models(classes: int = CLASSES) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Predictions [models, images] and labels [images]."""
    shapes = st.tuples(st.integers(1, 7), st.integers(1, 12))
    return shapes.flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.int64, shape, elements=st.integers(0, classes - 1)),
            hnp.arrays(np.int64, shape[1], elements=st.integers(0, classes - 1)),
        )
    )


@pytest.mark.parametrize(
    ("votes", "error", "bias", "variance", "costly", "lucky"),
    [
        ([1, 1, 1, 1], 0, 0, 0, 0, 0),  # all right
        ([2, 2, 2, 2], 1, 1, 0, 0, 0),  # all wrong, alike
        ([1, 1, 1, 0], 1 / 4, 0, 1 / 4, 1 / 4, 0),  # main prediction right: variance costs
        ([0, 0, 0, 1], 3 / 4, 1, 1 / 4, 0, 1 / 4),  # main prediction wrong: the deviation is right
        ([0, 0, 0, 2], 1, 1, 1 / 4, 0, 0),  # main prediction wrong: the deviation is wrong too
        ([0, 0, 1, 1], 1 / 2, 1 / 2, 1 / 2, 1 / 4, 1 / 4),  # tied between right and wrong
        ([0, 0, 2, 2], 1, 1, 1 / 2, 0, 0),  # tied between two wrong classes
        ([0, 1, 2, 3], 3 / 4, 3 / 4, 3 / 4, 3 / 16, 3 / 16),  # all differ: one of four modes is right
    ],
)
def test_one_image_by_hand(
    votes: list[int], error: float, bias: float, variance: float, costly: float, lucky: float
) -> None:
    parts = decompose(np.array(votes)[:, None], np.array([1]), CLASSES)
    found = [float(getattr(parts, name)[0]) for name in PARTS]
    assert found == pytest.approx([error, bias, variance, costly, lucky])


@given(models())
def test_error_is_bias_plus_costly_minus_lucky(case: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, labels = case
    parts = decompose(predictions, labels, CLASSES)
    np.testing.assert_allclose(parts.error, (predictions != labels).mean(axis=0))
    np.testing.assert_allclose(parts.error, parts.bias + parts.costly - parts.lucky, atol=1e-12)
    assert (parts.costly + parts.lucky <= parts.variance + 1e-12).all()
    for name in PARTS:
        assert (getattr(parts, name) >= 0).all()
        assert (getattr(parts, name) <= 1).all()


@given(models(classes=2))
def test_with_two_classes_variance_adds_where_unbiased_and_subtracts_where_biased(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    parts = decompose(*case, 2)
    sign = 1 - 2 * parts.bias  # Domingos' c, +1 or -1; 0 for a tie
    np.testing.assert_allclose(parts.error, parts.bias + sign * parts.variance, atol=1e-12)
    np.testing.assert_allclose(parts.costly + parts.lucky, parts.variance, atol=1e-12)


@given(models(), st.randoms(use_true_random=False))
def test_order_of_models_and_names_of_classes_mean_nothing(case: tuple[np.ndarray, np.ndarray], random: object) -> None:
    predictions, labels = case
    order = list(range(len(predictions)))
    names = list(range(CLASSES))
    random.shuffle(order)  # type: ignore[attr-defined]
    random.shuffle(names)  # type: ignore[attr-defined]
    renamed = np.array(names)
    first = decompose(predictions, labels, CLASSES)
    second = decompose(renamed[predictions[order]], renamed[labels], CLASSES)
    for name in PARTS:
        np.testing.assert_allclose(getattr(first, name), getattr(second, name))
    assert tied(predictions, CLASSES) == tied(renamed[predictions[order]], CLASSES)


@given(models(), st.integers(2, 4))
def test_the_same_models_twice_change_nothing(case: tuple[np.ndarray, np.ndarray], times: int) -> None:
    predictions, labels = case
    first = decompose(predictions, labels, CLASSES)
    second = decompose(np.concatenate([predictions] * times), labels, CLASSES)
    for name in PARTS:
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=1e-12)


def test_small_unsigned_predictions_are_counted_as_numbers() -> None:
    predictions = np.array([[200, 3], [200, 3], [1, 3]], dtype=np.uint8)
    parts = decompose(predictions, np.array([200, 3], dtype=np.uint8), 201)
    np.testing.assert_allclose(parts.variance, [1 / 3, 0])
    np.testing.assert_allclose(parts.bias, [0, 0])


def test_share_of_tied_images() -> None:
    assert tied(np.array([[0, 0, 1, 2], [1, 0, 2, 2], [2, 0, 1, 1], [3, 1, 2, 2]]), CLASSES) == 0.5


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [
        (np.zeros((0, 3), int), np.zeros(3, int)),
        (np.zeros((2, 3), int), np.zeros(2, int)),
        (np.zeros(3, int), np.zeros(3, int)),
        (np.full((2, 3), CLASSES), np.zeros(3, int)),
        (np.zeros((2, 3), int), np.full(3, -1)),
    ],
)
def test_what_does_not_fit_is_refused(predictions: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="predictions"):
        decompose(predictions, labels, CLASSES)


def test_hardest_negative_golden() -> None:
    # exp(1, 2, 3) / sum = .0900306, .2447285, .6652410
    logits = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1e4, 0.0, -1e4]])
    found = hardest_negative(logits, np.array([2, 0, 1, 0]))
    np.testing.assert_allclose(found, [0.24472847, 0.66524096, 1 / 3, 0], atol=1e-8)


@given(
    hnp.arrays(np.float64, (5, CLASSES), elements=st.floats(-30, 30)),
    hnp.arrays(np.int64, 5, elements=st.integers(0, CLASSES - 1)),
    st.floats(-100, 100),
)
def test_hardest_negative_is_what_remains_of_the_truth_at_most(
    logits: np.ndarray, labels: np.ndarray, constant: float
) -> None:
    found = hardest_negative(logits, labels)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    truth = odds[np.arange(5), labels] / odds.sum(axis=1)
    assert (found <= 1 - truth + 1e-12).all()
    assert (found >= (1 - truth) / (CLASSES - 1) - 1e-12).all()
    np.testing.assert_allclose(hardest_negative(logits + constant, labels), found, atol=1e-9)


def test_hardest_negative_needs_a_wrong_class() -> None:
    with pytest.raises(ValueError, match="logits of shape"):
        hardest_negative(np.zeros((3, 1)), np.zeros(3, int))


def test_groups_are_means_of_class_means_and_none_where_there_is_no_image() -> None:
    labels = np.array([0, 0, 0, 1, 3])
    values = np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    groups = {"many": np.array([0, 1]), "medium": np.array([2]), "few": np.array([3, 4])}
    found = by_group(values, labels, groups)
    assert list(found) == ["all", "many", "medium", "few"]
    assert found["all"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found["many"] == pytest.approx(1 / 3)
    assert found["medium"] is None
    assert found["few"] == 1


def test_jackknife_of_a_mean_is_the_t_interval() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    left_out = [(values.sum() - value) / 3 for value in values]
    half = stdtrit(3, 0.975) * values.std(ddof=1) / 2
    assert jackknife(values.mean(), left_out) == pytest.approx((values.mean() - half, values.mean() + half))


@pytest.mark.parametrize("left_out", [[], [0.4], [0.4, 0.6]])
def test_no_jackknife_of_two_groups(left_out: list[float]) -> None:
    assert jackknife(0.5, left_out) is None
