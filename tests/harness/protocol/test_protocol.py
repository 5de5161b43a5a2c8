"""The protocol: labels only measure, adapters see a permutation, redraws are draws, numbers follow from predictions."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import adapters
from harness.adapters.eb_em import FOLDS, folds_of
from harness.adapters.parts.contract import Adapter
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence, PoolEvidence
from harness.measures.metrics import evaluate, unpack_bits
from harness.protocol.arrival import arrival
from harness.protocol.draws import Draw
from harness.protocol.measure import adapt, measure
from shifts.labels.draw import draw
from tests.harness.small import random_pool

COUNTS = np.array([5, 10, 20, 40, 80])


def draws(pool: PoolEvidence, number: int = 3) -> list[Draw]:
    """A long-tailed draw under several draw seeds."""
    return [Draw(seed, draw(pool.labels, COUNTS, seed=seed)) for seed in range(number)]


def fields(pool: PoolEvidence, names: list[str], on: list[Draw]) -> list[dict[str, Any]]:
    """Row fields of named adapters."""
    return list(measure(pool, [adapters.get(name) for name in names], on))


def predictions(name: str, pool: PoolEvidence, on: Draw) -> np.ndarray:
    """Adapted logits of a draw in its order."""
    return adapt(adapters.get(name), pool, on).fitted.predict(pool.evidence.take(on.indices))


def without_labels() -> list[str]:
    """Every adapter that may not know the truth and applies to the test's evidence."""
    made = [(name, adapters.get(name)) for name in adapters.ADAPTERS]
    evidence = random_pool().evidence
    return [name for name, one in made if isinstance(one, Adapter) and one.missing(evidence) is None]


@given(st.integers(0, 2**31), st.integers(0, 3))
def test_permuting_labels_after_the_draw_changes_no_prediction(seed: int, draw_seed: int) -> None:
    pool = random_pool(seed % 7)
    on = draws(pool, 4)[draw_seed]
    permuted = replace(pool, labels=np.random.default_rng(seed).permutation(pool.labels))
    assert {"mean", "sade", "em", "eb_em", "stream_em"} <= set(without_labels())
    for name in without_labels():
        np.testing.assert_array_equal(predictions(name, pool, on), predictions(name, permuted, on), err_msg=name)
    before, after = adapt(adapters.get("mean"), pool, on), adapt(adapters.get("mean"), permuted, on)
    assert before.metrics.predicted == after.metrics.predicted
    assert before.metrics.per_class_total != after.metrics.per_class_total, "labels do measure"


def test_what_knows_the_truth_does_follow_the_labels() -> None:
    pool = random_pool()
    on = draws(pool, 1)[0]
    turned = replace(pool, labels=(pool.labels + 1) % 5)
    assert not np.allclose(predictions("oracle_prior", pool, on), predictions("oracle_prior", turned, on))
    # The second expert is right about the turned labels, the first about the true ones.
    logits = np.stack([np.eye(5)[pool.labels], np.eye(5)[turned.labels]], axis=1).astype(np.float32)
    priors = replace(pool.expert_priors, values=pool.expert_priors.values[:2])
    pool = replace(pool, evidence=Evidence(logits), expert_priors=priors)
    turned = replace(pool, labels=turned.labels)
    assert adapt(adapters.get("best_expert"), pool, on).metrics.top1 == 1.0
    assert not np.allclose(predictions("best_expert", pool, on), predictions("best_expert", turned, on))
    np.testing.assert_array_equal(predictions("mean", pool, on), predictions("mean", turned, on))


SEEN: list[tuple[np.ndarray, int, np.ndarray, np.ndarray]] = []


@dataclass(frozen=True)
class Recorder(Adapter):
    """Keeps what it is shown; predicts the class that the first expert's first logit names."""

    name: ClassVar[str] = "recorder"
    access: ClassVar[Access] = Access("none", "none", "stream")

    def fit(self, evidence: Evidence, counts: Any, expert_priors: Any, seed: int) -> Any:
        SEEN.append((evidence.logits[:, 0, 0].astype(int), seed, counts, expert_priors.values))
        return self

    prior = None
    weights = None

    def predict(self, evidence: Evidence) -> np.ndarray:
        return np.eye(5, dtype=np.float32)[evidence.logits[:, 0, 0].astype(int) % 7 % 5]


def numbered_pool() -> PoolEvidence:
    """A pool in which every image's logits are its number in the pool."""
    pool = random_pool()
    number = np.arange(len(pool.labels), dtype=np.float32)
    return replace(pool, evidence=Evidence(np.broadcast_to(number[:, None, None], (len(number), 3, 5)).copy()))


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_an_adapter_sees_a_permutation_and_predictions_are_put_back(seed: int) -> None:
    pool = numbered_pool()
    on = Draw(seed, draw(pool.labels, COUNTS, seed=seed))
    SEEN.clear()
    outcome = adapt(Recorder(), pool, on)
    ((seen, given, *_),) = SEEN
    assert given == seed
    assert sorted(seen) == sorted(on.indices)
    classes = pool.labels[seen]
    assert (np.diff(pool.labels[on.indices]) >= 0).all(), "draws come class by class"
    # In any half of a shuffled draw the largest class is about as frequent as in the whole.
    share = [(part == 4).mean() for part in np.array_split(classes, 2)]
    assert abs(share[0] - share[1]) < 0.25
    guesses = on.indices % 7 % 5
    assert outcome.metrics.top1 == (guesses == pool.labels[on.indices]).mean()
    assert list(outcome.metrics.predicted) == np.bincount(guesses, minlength=5).tolist()
    # Bits stand by class, then by position in the pool.
    order = np.lexsort((on.indices, pool.labels[on.indices]))
    right = (guesses == pool.labels[on.indices])[order]
    np.testing.assert_array_equal(unpack_bits(outcome.metrics.correct_bits, len(right)), right)
    np.testing.assert_array_equal(outcome.correct, guesses == pool.labels[on.indices])


def test_nothing_that_an_adapter_is_given_follows_the_labels() -> None:
    pool, turned = (replace(numbered_pool(), labels=labels) for labels in (random_pool().labels, random_pool(1).labels))
    assert not np.array_equal(pool.labels, turned.labels)
    on = draws(pool, 1)[0]
    SEEN.clear()
    for one in (pool, turned):
        adapt(Recorder(), one, on)
    for before, after in zip(*SEEN, strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_order_is_the_draw_seeds_alone() -> None:
    pool, orders = numbered_pool(), {}
    for seed in (0, 0, 1):
        SEEN.clear()
        adapt(Recorder(), pool, Draw(seed, draw(pool.labels, COUNTS)))
        orders.setdefault(seed, []).append(SEEN[0][0].tolist())
    assert orders[0][0] == orders[0][1]
    assert orders[0][0] != orders[1][0]


@pytest.mark.parametrize("name", ["mean", "sade", "em", "oracle_prior", "best_expert"])
def test_measured_by_hand(name: str) -> None:
    pool = random_pool(3)
    on = draws(pool, 1)
    (row,) = fields(pool, [name], on)
    shown = on[0].indices[np.random.default_rng(0).permutation(len(on[0].indices))]
    evidence, adapter = pool.evidence.take(shown), adapters.get(name)
    if isinstance(adapter, Adapter):
        fitted: Any = adapter.fit(evidence, pool.train_counts, pool.expert_priors, 0)
    else:
        fitted = adapter.fit_with_truth(evidence, pool.train_counts, pool.expert_priors, pool.labels[shown])
    metrics = evaluate(fitted.predict(evidence), pool.labels[shown], pool.train_counts, shown)
    for field in ("top1", "many", "medium", "few", "macro", "correct_bits", "per_class_correct", "n"):
        assert row[field] == getattr(metrics, field), field
    assert row["nll"] == pytest.approx(metrics.nll)
    assert row["ece"] == pytest.approx(metrics.ece)
    assert row["draw_seed"] == 0
    chosen = fitted.weights.tolist() if name in ("sade", "best_expert") else None
    assert row["weights"] == (None if chosen is None else pytest.approx(chosen))
    assert (row["view_stability"] is None) == (name != "sade")


def test_redraws_equal_separate_draws() -> None:
    pool, on = random_pool(1), draws(random_pool(1), 4)
    names = ["mean", "sade", "em", "oracle_prior", "best_expert"]
    for together, *alone in zip(
        fields(pool, names, on), *(fields(pool, names, [single]) for single in on), strict=True
    ):
        assert [redraw["draw_seed"] for redraw in together["redraws"]] == [1, 2, 3]
        for redraw, single in zip([together, *together["redraws"]], alone, strict=True):
            assert single["redraws"] == []
            for field in ("n", "top1", "many", "medium", "few", "delta_to_mean", "tv_predicted_test"):
                assert redraw[field] == pytest.approx(single[field], abs=5.1e-7), field
            assert redraw["tv_estimate_test"] == pytest.approx(single["tv_estimate_test"], abs=5.1e-7)


def test_adapters_do_not_disturb_each_other() -> None:
    pool, on = random_pool(2), draws(random_pool(2), 2)
    names = ["sade", "mean", "em"]
    ignored = ("adapt_seconds",)
    together = dict(zip(names, fields(pool, names, on), strict=True))
    backwards = dict(zip(names[::-1], fields(pool, names[::-1], on), strict=True))
    for name in names:
        (alone,) = fields(pool, [name], on)
        for other in (together[name], backwards[name]):
            assert {key: value for key, value in other.items() if key not in ignored} == {
                key: value for key, value in alone.items() if key not in ignored
            }


def test_deltas_are_to_mean_on_the_same_draw() -> None:
    pool, on = random_pool(4), draws(random_pool(4), 3)
    mean, sade = fields(pool, ["mean", "sade"], on)
    assert mean["delta_to_mean"] == 0
    assert mean["mcnemar_p_to_mean"] == 1
    assert sade["delta_to_mean"] == sade["top1"] - mean["top1"]
    for ours, theirs in zip(sade["redraws"], mean["redraws"], strict=True):
        assert ours["delta_to_mean"] == pytest.approx(ours["top1"] - theirs["top1"], abs=1.6e-6)
    assert any(redraw["top1"] != sade["top1"] for redraw in sade["redraws"])


def test_expectation_over_draws_is_what_redraws_scatter_about() -> None:
    pool = random_pool(5, images=2000)
    mean, calibrated = fields(pool, ["mean", "calibrated"], draws(pool, 60))
    for found in (mean, calibrated):
        tops = [found["top1"], *(redraw["top1"] for redraw in found["redraws"])]
        assert found["expected_top1"] == pytest.approx(np.mean(tops), abs=4 * np.std(tops) / np.sqrt(len(tops)))
    guesses = pool.evidence.logits.mean(1).argmax(1)
    shares = [(guesses[pool.labels == c] == c).mean() for c in range(5)]
    assert mean["expected_top1"] == pytest.approx(COUNTS / COUNTS.sum() @ shares)
    for found in fields(pool, ["em", "eb_em", "oracle_prior"], draws(pool, 1)):
        assert found["expected_top1"] is None, "the answer depends on the draw"


def test_distances_are_those_of_the_draw() -> None:
    pool, on = random_pool(6), draws(random_pool(6), 1)
    truth = COUNTS / COUNTS.sum()
    priors = pool.expert_priors.values
    for row in fields(pool, ["mean", "em", "sade"], on):
        train = pool.train_counts / pool.train_counts.sum()
        assert row["tv_train_test"] == pytest.approx(np.abs(train - truth).sum() / 2)
        assert row["tv_experts_test_mean"] == pytest.approx(np.abs(priors - truth).sum(1).mean() / 2)
        widest = max(np.abs(a - b).sum() / 2 for a in priors for b in priors)
        assert row["etvd"] == pytest.approx(widest)
        predicted = np.array(row["predicted"]) / sum(row["predicted"])
        assert row["tv_predicted_test"] == pytest.approx(np.abs(predicted - truth).sum() / 2)
        if row["prior_estimate"] is None:
            assert row["tv_estimate_test"] is None
        else:
            assert row["tv_estimate_test"] == pytest.approx(np.abs(np.array(row["prior_estimate"]) - truth).sum() / 2)


@pytest.mark.parametrize("seed", range(5))
def test_folds_know_nothing_of_the_order_of_the_draw(seed: int) -> None:
    """A draw comes class by class; folds that followed it would hold equal shares of each class."""
    labels = np.repeat(np.arange(20), 20)
    shown = labels[arrival("shuffled", labels, np.ones(20), seed)]
    table = np.zeros((20, FOLDS))
    np.add.at(table, (shown, folds_of(len(labels), seed)), 1)
    assert table.sum(0).tolist() == [100] * FOLDS
    chi_squared = ((table - 5) ** 2 / 5).sum()
    assert 0.5 < chi_squared / (19 * (FOLDS - 1)) < 1.6


def test_an_adapter_gets_the_parts_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays that are many times as large as the logits are not copied for adapters that do not read them."""
    from harness.protocol import measure as protocol

    pool = random_pool(3, pairs=2)
    shown: dict[str, bool] = {}
    take, stability = Evidence.take, protocol._stability
    asked: list[object] = []
    monkeypatch.setattr(protocol, "_stability", lambda *args: asked.append(args) or stability(*args))
    draws = [Draw(seed, draw(pool.labels, np.bincount(pool.labels) // 2, seed=seed)) for seed in range(3)]
    for name in ("em", "sade", "stream_sade", "calibrated"):
        adapter = adapters.get(name)

        def taken(self: Evidence, indices: np.ndarray, parts: tuple[str, ...], name: str = name) -> Evidence:
            found = take(self, indices, parts)
            shown[name] = found.views is not None
            return found

        monkeypatch.setattr(Evidence, "take", taken)
        adapt(adapter, pool, draws[0])
    assert shown == {"em": False, "sade": True, "stream_sade": True, "calibrated": False}
    monkeypatch.setattr(Evidence, "take", take)
    fields = list(measure(pool, [adapters.get(name) for name in ("mean", "em", "sade", "stream_sade")], draws))
    assert len(asked) == 1, "one look at the views a shift, whatever reads them"
    assert [found["view_stability"] is not None for found in fields] == [False, False, True, True]


def test_a_redraw_keeps_what_the_whole_measurement_says() -> None:
    pool = random_pool(3, pairs=0)
    on = Draw(1, draw(pool.labels, np.bincount(pool.labels) // 2, seed=1))
    whole, part = adapt(adapters.get("em"), pool, on), adapt(adapters.get("em"), pool, on, in_full=False)
    assert whole.metrics is not None
    assert part.metrics is None
    assert whole.accuracy is whole.metrics, "measured once"
    assert {name: getattr(whole.metrics, name) for name in vars(part.accuracy)} == vars(part.accuracy)
