"""Priors of experts: reversal by rank, the prior that a weighted ensemble targets, and what methods state."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from methods import papers
from methods.core.batch import NetworkSpec
from methods.core.priors import ExpertPriors, normalise, reverse_by_rank, target_prior
from methods.losses import drw_weights
from shifts.labels.distance import etvd, total_variation

IF100 = np.array([int(500 * 0.01 ** (c / 99)) for c in range(100)])
UNIFORM = np.full(100, 0.01)
NAMES = ("softmax", "balanced_softmax", "logit_adjusted", "ldam_drw", "balpoe", "sade", "balpoe:tau=0.5/1")


def values(smallest: float = 1e-3) -> Any:
    """Positive numbers, two to twelve."""
    return st.lists(st.floats(smallest, 1e3), min_size=2, max_size=12)


@st.composite
def expert_priors(draw: Any) -> ExpertPriors:
    """Up to five experts' priors over up to six classes."""
    experts, classes = draw(st.integers(1, 5)), draw(st.integers(2, 6))
    row = st.lists(st.floats(1e-3, 1), min_size=classes, max_size=classes)
    rows = [normalise(draw(row)) for _ in range(experts)]
    return ExpertPriors(np.stack(rows), exact=True)


@given(values())
def test_reversal_of_distinct_values_is_an_involution_and_a_sorted_reversal(prior: list[float]) -> None:
    assume(len(set(prior)) == len(prior))
    reversed_prior = reverse_by_rank(prior)
    assert sorted(reversed_prior) == sorted(prior)
    assert np.array_equal(np.argsort(reversed_prior), np.argsort(prior)[::-1])
    assert reverse_by_rank(reversed_prior).tolist() == prior


@given(st.lists(st.integers(1, 4), min_size=2, max_size=12))
def test_reversal_with_ties_keeps_the_values_and_turns_the_order_round(prior: list[int]) -> None:
    reversed_prior = reverse_by_rank(prior)
    assert sorted(reversed_prior) == sorted(prior)
    for one in range(len(prior)):
        for other in range(len(prior)):
            if prior[one] < prior[other]:
                assert reversed_prior[one] >= reversed_prior[other]


def test_reversal_of_a_long_tail_is_the_list_read_backwards() -> None:
    assert reverse_by_rank([9.0, 5.0, 2.0]).tolist() == [2, 5, 9]
    assert reverse_by_rank([5.0, 9.0, 2.0]).tolist() == [5, 2, 9]
    distinct = IF100 + np.linspace(1, 0, 100)
    assert np.array_equal(reverse_by_rank(distinct), distinct[::-1])


def test_tied_classes_are_reversed_as_in_the_released_code() -> None:
    """Sort ascending, each class's rank, ranks reversed, values at those ranks."""
    order = np.argsort(IF100, kind="stable")
    rank = np.argsort(order, kind="stable")
    assert np.array_equal(reverse_by_rank(IF100), IF100[order][99 - rank])
    assert len(np.unique(IF100)) < 100


@given(values(), st.floats(1e-3, 1e3))
def test_normalise_ignores_the_scale(prior: list[float], scale: float) -> None:
    assert normalise(prior).sum() == pytest.approx(1)
    np.testing.assert_allclose(normalise(np.array(prior) * scale), normalise(prior))


@pytest.mark.parametrize("bad", [[0.0, 0.0], [1.0, -1e-9], [np.nan, 1.0], [np.inf, 1.0], []])
def test_what_cannot_be_normalised_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="a prior needs"):
        normalise(bad)


@pytest.mark.parametrize(
    "bad", [[0.5, 0.5], [[0.5, 0.6]], [[1.5, -0.5]], [[np.nan, 1.0]], [[0.0, 0.0]]], ids=lambda bad: str(bad)
)
def test_what_is_no_prior_is_refused(bad: list[Any]) -> None:
    with pytest.raises(ValueError, match="prior"):
        ExpertPriors(np.array(bad), exact=True)


def test_kind_of_a_prior() -> None:
    assert [ExpertPriors(np.array([[0.5, 0.5]]), exact).kind for exact in (True, False)] == ["exact", "approximate"]


@given(expert_priors(), st.data())
def test_all_weight_on_one_expert_gives_its_prior(priors: ExpertPriors, data: Any) -> None:
    experts = len(priors.values)
    chosen = data.draw(st.integers(0, experts - 1))
    np.testing.assert_allclose(target_prior(priors, np.eye(experts)[chosen]), priors.values[chosen])


@given(expert_priors(), st.data())
def test_target_prior_is_the_weighted_product_and_knows_no_order(priors: ExpertPriors, data: Any) -> None:
    experts = len(priors.values)
    weights = normalise(data.draw(st.lists(st.floats(0.01, 1), min_size=experts, max_size=experts)))
    found = target_prior(priors, weights)
    np.testing.assert_allclose(found, normalise(np.prod(priors.values ** weights[:, None], axis=0)))
    order = data.draw(st.permutations(range(experts)))
    shuffled = ExpertPriors(priors.values[order], exact=True)
    np.testing.assert_allclose(target_prior(shuffled, weights[order]), found)
    np.testing.assert_allclose(target_prior(priors), target_prior(priors, np.full(experts, 1 / experts)))


def test_target_prior_of_equal_experts_is_theirs_and_zeros_stay_finite() -> None:
    values = np.array([[0.7, 0.3, 0.0]] * 2)
    np.testing.assert_allclose(target_prior(ExpertPriors(values, exact=True)), [0.7, 0.3, 1e-12], atol=1e-12)


@pytest.mark.parametrize("weights", [[1.0], [0.2, 0.3, 0.5], [[0.5, 0.5]]])
def test_weights_of_another_number_are_refused(weights: list[Any]) -> None:
    with pytest.raises(ValueError, match="2 expert priors need 2 weights"):
        target_prior(ExpertPriors(np.array([[0.5, 0.5]] * 2), exact=True), weights)


def test_golden_distances_of_sade_at_imbalance_100() -> None:
    priors = papers.get("sade").expert_priors(IF100)
    assert total_variation(target_prior(priors), UNIFORM) == pytest.approx(0.189, abs=0.0005)
    assert etvd(priors.values) == pytest.approx(0.926, abs=0.0005)
    assert total_variation(target_prior(priors), normalise(IF100) ** (-1 / 3)) < 0.03


@pytest.mark.parametrize("name", ["balanced_softmax", "balpoe"])
def test_the_mean_of_logits_targets_the_uniform_prior(name: str) -> None:
    np.testing.assert_allclose(target_prior(papers.get(name).expert_priors(IF100)), UNIFORM)


def test_stated_priors() -> None:
    pi = normalise(IF100)

    def stated(name: str) -> ExpertPriors:
        return papers.get(name).expert_priors(IF100)

    np.testing.assert_allclose(stated("softmax").values, [pi])
    np.testing.assert_allclose(stated("logit_adjusted:tau=0.25").values, [normalise(pi**0.75)])
    np.testing.assert_allclose(stated("balpoe").values, [pi, UNIFORM, normalise(1 / pi)])
    np.testing.assert_allclose(stated("sade").values, [pi, UNIFORM, normalise(reverse_by_rank(pi) ** 2)])
    np.testing.assert_allclose(stated("sade:tau=1").values[2], reverse_by_rank(pi))
    weights = (1 - 0.9999) / (1 - 0.9999**IF100)
    np.testing.assert_allclose(stated("ldam_drw").values, [normalise(pi * weights)], rtol=1e-6)
    assert [name for name in NAMES if not stated(name).exact] == ["ldam_drw", "balpoe", "balpoe:tau=0.5/1"]
    assert stated("balpoe:mixup=0").exact


@pytest.mark.parametrize("name", NAMES)
def test_stated_priors_fit_the_network_and_follow_a_renaming_of_classes(name: str) -> None:
    counts = np.array([50, 30, 12, 7, 2])
    method = papers.get(name)
    priors = method.expert_priors(counts)
    network = method.network(NetworkSpec("resnet8", tuple(counts.tolist()), (8, 8)))
    assert priors.values.shape == (len(network.heads), 5)  # type: ignore[arg-type]
    order = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(method.expert_priors(counts[order]).values, priors.values[:, order], rtol=1e-6)


def test_class_weights_are_those_of_the_loss() -> None:
    import torch

    weights = drw_weights(torch.tensor(IF100, dtype=torch.float64)).numpy()
    assert weights[[0, -1]] == pytest.approx([0.0449, 4.378], abs=1e-3)
