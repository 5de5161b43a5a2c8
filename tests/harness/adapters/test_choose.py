"""Whether to adapt: on data with a known truth the rule says what wins; replicates of an estimate hold the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import adapters
from harness.adapters.parts.contract import WeightedExperts
from harness.adapters.parts.expected import believed, measured
from harness.adapters.parts.spread import replicates
from harness.adapters.parts.whether import Unlabelled, answers, unlabelled
from harness.evidence.arrays import Evidence
from tests.harness.simulated import COUNTS, PRIORS, SKEWED, UNIFORM, simulated


def fitted(name: str, evidence: Evidence, seed: int = 0) -> WeightedExperts:
    made = adapters.get(name).fit(evidence, COUNTS, PRIORS, seed)  # type: ignore[union-attr]
    assert isinstance(made, WeightedExperts)
    return made


def chosen(name: str, evidence: Evidence) -> str:
    """Which of its two adapters `choose` or `choose_source` went with."""
    other = {"choose": "em", "choose_source": "eb_em_recal"}[name]
    found = fitted(name, evidence).predict(evidence)
    same = [one for one in ("mean", other) if np.array_equal(fitted(one, evidence).predict(evidence), found)]
    assert len(same) == 1, same
    return same[0]


@pytest.mark.parametrize("name", ["choose", "choose_source"])
def test_a_large_shift_is_adapted_to(name: str) -> None:
    evidence, labels = simulated(SKEWED, 2000, source=100)
    assert chosen(name, evidence) != "mean"
    won = fitted(name, evidence).predict(evidence).argmax(1) == labels
    assert won.mean() > (fitted("mean", evidence).predict(evidence).argmax(1) == labels).mean() + 0.05


@pytest.mark.parametrize("images", [30, 2000])
def test_without_labels_no_shift_is_not_adapted_to(images: int) -> None:
    assert chosen("choose", simulated(UNIFORM, images)[0]) == "mean"


def test_an_over_confident_model_is_not_trusted() -> None:
    sure = simulated(SKEWED, 2000, sharpness=0.15)[0]
    twice_as_sure = Evidence(30 * sure.logits)
    said = unlabelled(twice_as_sure, PRIORS, 0.5, 0)
    assert said.sharp < unlabelled(simulated(SKEWED, 2000)[0], PRIORS, 0.5, 0).sharp
    assert chosen("choose", twice_as_sure) == "mean"


def test_where_nothing_is_chosen_the_prior_is_the_models_own() -> None:
    evidence, _ = simulated(UNIFORM, 500)
    np.testing.assert_allclose(fitted("choose", evidence).prior, UNIFORM)


def test_a_wrong_estimate_is_found_out_by_the_source() -> None:
    evidence, _ = simulated(UNIFORM, 2000, source=100)
    estimate, plain = fitted("eb_em_recal", evidence), fitted("mean", evidence)
    bad = WeightedExperts(plain.weights, bias=np.log(SKEWED), prior=SKEWED)
    said = measured(evidence, estimate, plain, bad, 0)
    assert not said.adapt
    assert said.plain - said.adapted > 0.05
    assert np.quantile(said.gains, 0.95) < 0


def test_expected_accuracy_is_near_the_truth() -> None:
    evidence, labels = simulated(SKEWED, 4000, source=200)
    estimate, plain = fitted("eb_em_recal", evidence), fitted("mean", evidence)
    truth = [(answers(evidence, one) == labels).mean() for one in (plain, estimate)]
    by_source = measured(evidence, estimate, plain, estimate, 0)
    given_answers = answers(evidence, plain), answers(evidence, estimate)
    by_posteriors = believed(evidence, estimate, *given_answers, 0, evidence.source)
    for said in (by_source, by_posteriors):
        assert [said.plain, said.adapted] == pytest.approx(truth, abs=0.03)
        low, high = np.quantile(said.gains, [0.01, 0.99])
        assert low < truth[1] - truth[0] < high


@pytest.mark.parametrize(("name", "source"), [("em", 0), ("eb_em_recal", 100), ("em_bcts", 100)])
def test_replicates_are_priors_that_hold_the_truth(name: str, source: int) -> None:
    held = []
    for seed in range(8):
        evidence, _ = simulated(SKEWED, 400, seed, source=source)
        estimate = fitted(name, evidence)
        assert estimate.mixture is not None
        found = replicates(evidence, np.asarray(estimate.prior), estimate.mixture, evidence.source, seed)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        low, high = np.quantile(found, [0.05, 0.95], axis=0)
        held.append((low <= SKEWED) & (high >= SKEWED))
    assert 0.75 < np.mean(held) <= 1


def test_more_images_make_narrower_intervals() -> None:
    widths = []
    for images in (100, 1000, 100_000):
        evidence, _ = simulated(SKEWED, images)
        estimate = fitted("em", evidence)
        assert estimate.mixture is not None
        found = replicates(evidence, np.asarray(estimate.prior), estimate.mixture, None, 0)
        widths.append(np.diff(np.quantile(found[:, 0], [0.05, 0.95]))[0])
    assert widths[0] > 2 * widths[1] > 4 * widths[2], "also where not all images are looked at"


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0.1, 20))
def test_any_images_give_one_of_the_two(images: int, seed: int, sharpness: float) -> None:
    evidence, _ = simulated(UNIFORM, images, seed, sharpness)
    found = fitted("choose", evidence, seed).predict(evidence)
    assert any(np.array_equal(found, fitted(one, evidence).predict(evidence)) for one in ("mean", "em"))


def test_each_condition_has_its_reason() -> None:
    trusted = Unlabelled(held_out=1, far=2, sharp=0.5, changed=0.5)
    assert trusted.adapt
    for name in ("held_out", "far", "sharp", "changed"):
        doubted = Unlabelled(**{**vars(trusted), name: 0.0})
        assert not doubted.adapt
        assert len(doubted.reasons) == 1
