"""Streams: what is known when, against loops that a reader of the papers would write; the drifting order."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.nn.functional import cosine_similarity

from harness import adapters
from harness.adapters.parts.calibration import calibrated
from harness.adapters.parts.streams import StreamAdapter
from harness.evidence.arrays import Evidence, Source
from harness.protocol.arrival import DRIFT_RATIO, arrival
from harness.protocol.draws import Draw
from harness.protocol.measure import adapt, declared, measure
from methods.core.priors import ExpertPriors, normalise, target_prior
from shifts.common.errors import BadInput
from shifts.labels.draw import draw
from tests.harness.small import random_pool

STREAMS = ["stream_sade", "stream_em", "stream_em_bcts", "stream_history", "stream_flh_ftl", "stream_rogd"]


def evidence_of(images: int = 150, experts: int = 3, classes: int = 5, seed: int = 0) -> tuple[Evidence, ExpertPriors]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(images, experts, classes))
    views = logits + rng.normal(size=(2, 2, images, experts, classes)) * np.linspace(0.3, 2, experts)[:, None]
    known = np.arange(30 * classes) % classes
    source = rng.normal(scale=2, size=(len(known), experts, classes)) + 2 * np.eye(classes)[known][:, None]
    return (
        Evidence(
            logits.astype(np.float32), views.astype(np.float32), source=Source(source.astype(np.float32), known, 0)
        ),
        ExpertPriors(rng.dirichlet(np.full(classes, 3.0), size=experts), exact=True),
    )


def fit(name: str, evidence: Evidence, priors: ExpertPriors) -> Any:
    return adapters.get(name).fit(evidence, np.ones(5, int), priors, 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("objective", ["cosine", "inner"])
def test_stream_sade_is_one_step_of_torch_sgd_a_batch(objective: str) -> None:
    evidence, priors = evidence_of()
    assert evidence.views is not None
    fitted = fit(f"stream_sade:objective={objective},batch=32", evidence, priors)
    answers = fitted.predict(evidence)
    values = torch.full((3,), 1 / 3, requires_grad=True)
    optimiser = torch.optim.SGD([values], lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for start in range(0, 150, 32):
        part = slice(start, min(start + 32, 150))
        first, second = (
            torch.einsum("nec,e->nc", torch.from_numpy(view[part]), values.softmax(0)).softmax(1)
            for view in evidence.views[0]
        )
        agreement = cosine_similarity(first, second) if objective == "cosine" else (first * second).sum(1)
        optimiser.zero_grad()
        (-agreement.mean()).backward()
        optimiser.step()
        weights = values.detach().softmax(0).numpy()
        np.testing.assert_allclose(answers[part], np.einsum("nec,e->nc", evidence.logits[part], weights), atol=1e-4)
    np.testing.assert_allclose(fitted.weights, weights, atol=1e-6)
    np.testing.assert_allclose(fitted.prior, target_prior(priors, fitted.weights))
    assert np.abs(weights - 1 / 3).max() > 0.01


@pytest.mark.parametrize("memory", [1.0, 0.7])
@pytest.mark.parametrize("name", ["stream_em", "stream_em_bcts"])
def test_stream_em_by_hand(name: str, memory: float) -> None:
    evidence, priors = evidence_of()
    fitted = fit(f"{name}:memory={memory},batch=40", evidence, priors)
    logits, reference = evidence.logits.mean(1, dtype=float), target_prior(priors)
    if name == "stream_em_bcts":
        assert evidence.source is not None
        calibration = calibrated(evidence.source)
        logits, reference = calibration.apply(logits), calibration.prior
    counts, answers = 40 * reference, fitted.predict(evidence)
    for start in (0, 40, 80, 120):
        part = slice(start, start + 40)
        adjusted = softmax(logits[part] + np.log(counts / counts.sum()) - np.log(reference), axis=1)
        counts = memory * counts + adjusted.sum(0)
        expected = logits[part] + np.log(counts / counts.sum()) - np.log(reference)
        np.testing.assert_allclose(softmax(answers[part], 1), softmax(expected, 1), atol=1e-5)
    np.testing.assert_allclose(fitted.prior, counts / counts.sum())


@pytest.mark.parametrize("window", [0, 2])
def test_stream_history_by_hand(window: int) -> None:
    evidence, priors = evidence_of()
    fitted = fit(f"stream_history:window={window},batch=40", evidence, priors)
    assert evidence.source is not None
    seen = softmax(evidence.source.logits.mean(1, dtype=float), 1)
    joint = seen.T @ np.eye(5)[evidence.source.labels] / len(seen)
    start, logits = target_prior(priors), evidence.logits.mean(1, dtype=float)
    estimates, answers = [start], fitted.predict(evidence)
    for first in (0, 40, 80, 120):
        part = slice(first, first + 40)
        kept = estimates[-window:] if window else estimates
        prior = normalise(np.maximum(np.mean(kept, axis=0), 0))
        expected = logits[part] + np.log(np.maximum(prior, 1e-12)) - np.log(start)
        np.testing.assert_allclose(answers[part], expected, atol=1e-4)
        estimates.append(np.linalg.solve(joint, softmax(logits[part], 1).mean(0)) / 5)
    np.testing.assert_allclose(answers[:40], logits[:40], atol=1e-4)


@pytest.mark.parametrize("name", STREAMS)
def test_streams_declare_themselves_and_refuse_another_stream(name: str) -> None:
    evidence, priors = evidence_of()
    adapter = adapters.get(name)
    assert adapter.access.test == "stream"
    assert adapter.access.labels == ("source" if "source" in adapter.reads else "none")
    fitted = fit(name, evidence, priors)
    assert fitted.prior.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="150 images was read; 20"):
        fitted.predict(evidence.take(np.arange(20)))
    single, _ = evidence_of(images=1)
    assert fit(name, single, priors).predict(single).shape == (1, 5)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("stream_em:order=backwards", "drift"),
        ("stream_em:batch=0", "batch must be"),
        ("stream_em:memory=1.5", "memory must"),
        ("stream_history:window=-1", "window must"),
        ("stream_sade:objective=l2", "cosine"),
        ("stream_em:first=learn", "answer"),
        ("stream_flh_ftl:most=0", "most must"),
        ("stream_rogd:horizon=0", "horizon must"),
        ("stream_oracle:order=backwards", "square"),
    ],
)
def test_options_are_checked(text: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        adapters.get(text)


LABELS = np.repeat(np.arange(5), 4000)
TRAIN = np.array([300, 100, 30, 10, 3])


def test_the_shuffled_order_is_the_draw_seeds_permutation() -> None:
    found = arrival("shuffled", LABELS, TRAIN, 3)
    np.testing.assert_array_equal(found, np.random.default_rng(3).permutation(len(LABELS)))
    np.testing.assert_array_equal(found, arrival("shuffled", LABELS[::-1], TRAIN, 3))


def test_the_drifting_order_goes_from_forward_to_backward() -> None:
    order = arrival("drift", LABELS, TRAIN, 0)
    assert sorted(order) == list(range(len(LABELS)))
    tenths = [np.bincount(LABELS[part], minlength=5) / len(part) for part in np.array_split(order, 10)]
    ratios = np.array([np.log(shares[0] / shares[4]) for shares in tenths])
    # The log ratio falls from log R to -log R, on a line in time; arrivals are a little denser at both ends.
    assert (np.diff(ratios) < 0).all()
    np.testing.assert_allclose(ratios, np.log(DRIFT_RATIO) * (1 - 2 * (np.arange(10) + 0.5) / 10), atol=1)
    np.testing.assert_allclose(ratios[[0, 9]], [np.log(DRIFT_RATIO), -np.log(DRIFT_RATIO)], atol=0.6)
    assert (np.diff(tenths[0]) < 0).all()
    assert (np.diff(tenths[-1]) > 0).all()
    turned = arrival("drift", LABELS, TRAIN[::-1], 0)
    assert np.bincount(LABELS[turned[:2000]]).argmax() == 4, "head and tail are those of the training set"
    np.testing.assert_array_equal(order, arrival("drift", LABELS, TRAIN, 0))
    assert not np.array_equal(order, arrival("drift", LABELS, TRAIN, 1))


def test_a_middle_class_arrives_evenly() -> None:
    order = arrival("drift", np.full(1000, 2), TRAIN, 0)
    even = np.random.default_rng(0).random(1000)
    np.testing.assert_array_equal(order, np.argsort(even, kind="stable"))


def test_the_order_is_on_the_row_and_predictions_are_put_back() -> None:
    pool = random_pool(images=400, signal=1)
    on = Draw(0, draw(pool.labels, np.array([70, 60, 50, 40, 30])))
    names = ["stream_em_bcts:batch=32", "stream_em_bcts:batch=32,order=drift"]
    rows = list(measure(pool, [adapters.get(name) for name in names], [on]))
    said = [declared(adapters.get(name), pool.evidence, pool.expert_priors) for name in names]
    assert [fields["adapter"] for fields in said] == names
    assert {fields["test_access"] for fields in said} == {"stream"}
    assert {fields["source_n"] for fields in said} == {100}
    assert rows[0]["n"] == rows[1]["n"]
    assert rows[0]["delta_to_mean"] - rows[0]["top1"] == pytest.approx(rows[1]["delta_to_mean"] - rows[1]["top1"])
    assert rows[0]["prior_estimate"] != rows[1]["prior_estimate"]
    order = arrival("drift", pool.labels[on.indices], pool.train_counts, 0)
    shown = pool.evidence.take(on.indices[order])
    fitted: Any = adapters.get(names[1]).fit(shown, pool.train_counts, pool.expert_priors, 0)  # type: ignore[union-attr]
    right = fitted.predict(shown).argmax(1) == pool.labels[on.indices[order]]
    assert rows[1]["top1"] == right.mean()


def test_a_stream_without_adaptation_does_not_mind_the_order() -> None:
    """Where every batch is answered alike, the order changes nothing: predictions stand at their images."""
    pool = random_pool(images=300)
    on = Draw(0, draw(pool.labels, np.array([50, 40, 30, 20, 10])))
    outcomes = [
        adapt(adapters.get(f"stream_history:batch=1000{order}"), pool, on).metrics.top1
        for order in ("", ",order=drift")
    ]
    assert outcomes[0] == outcomes[1] == adapt(adapters.get("mean"), pool, on).metrics.top1


@pytest.mark.parametrize("name", [*STREAMS, "stream_history:window=3", "stream_em:memory=0.5", "stream_flh_ftl:most=2"])
def test_a_reader_with_another_ones_memory_goes_on_as_that_one(name: str) -> None:
    evidence, priors = evidence_of(images=320)
    adapter = adapters.get(name)
    assert isinstance(adapter, StreamAdapter)
    batches = [evidence.take(part, adapter.reads) for part in adapter.batches(320)]
    through = adapter.reader(evidence, priors)
    sizes = set()
    for batch in batches[:3]:
        through.read(batch)
    resumed = adapter.reader(evidence, priors)
    resumed.memory = {name: array.copy() for name, array in through.memory.items()}
    for batch in batches[3:]:
        for one, other in zip(through.read(batch), resumed.read(batch), strict=True):
            np.testing.assert_array_equal(one, other)
        sizes.add(sum(array.size for array in resumed.memory.values()))
    np.testing.assert_array_equal(through.prior, resumed.prior)
    assert len(sizes) == 1, "memory does not grow"
