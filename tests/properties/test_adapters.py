"""What must hold of adapters for any evidence."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness import adapters
from harness.adapters.parts.contract import TruthAdapter
from harness.adapters.parts.streams import StreamAdapter
from harness.adapters.sade import Sade
from harness.evidence.arrays import Evidence, Source
from harness.evidence.heads import Classifiers, PreferenceHeads, lattice
from methods.core.priors import ExpertPriors

seeds = st.integers(0, 2**32 - 1)


def evidence_of(seed: int, images: int = 200, experts: int = 3, classes: int = 5) -> tuple[Evidence, ExpertPriors]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(images, experts, classes))
    spread = rng.uniform(0.2, 2, size=(experts, 1))
    views = logits + rng.normal(size=(2, 2, images, experts, classes)) * spread
    priors = ExpertPriors(rng.dirichlet(np.full(classes, 2.0), size=experts), exact=True)
    return Evidence(logits.astype(np.float32), views.astype(np.float32)), priors


def sade_weights(evidence: Evidence, objective: str = "cosine", seed: int = 0) -> np.ndarray:
    _, experts, classes = evidence.logits.shape
    priors = ExpertPriors(np.full((experts, classes), 1 / classes), exact=True)
    adapter = adapters.get(f"sade:objective={objective}")
    assert isinstance(adapter, Sade)
    return adapter.fit(evidence, np.ones(classes, int), priors, seed).weights


@given(seeds, st.permutations(range(4)), st.sampled_from(["cosine", "inner"]))
def test_permuting_experts_permutes_sade_weights(seed: int, order: list[int], objective: str) -> None:
    evidence, _ = evidence_of(seed, experts=4)
    assert evidence.views is not None
    permuted = Evidence(evidence.logits[:, order], evidence.views[:, :, :, order])
    weights = sade_weights(evidence, objective)
    np.testing.assert_allclose(sade_weights(permuted, objective), weights[order], atol=1e-5)


@given(seeds, st.integers(2, 5), st.sampled_from(["cosine", "inner"]))
def test_identical_experts_keep_equal_weights(seed: int, experts: int, objective: str) -> None:
    evidence, _ = evidence_of(seed, experts=1)
    assert evidence.views is not None
    same = Evidence(evidence.logits.repeat(experts, 1), evidence.views.repeat(experts, 3))
    np.testing.assert_allclose(sade_weights(same, objective), 1 / experts, atol=1e-6)


@given(seeds, st.integers(0, 2), st.sampled_from(["cosine", "inner"]))
def test_the_more_view_stable_expert_gains(seed: int, stable: int, objective: str) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(400, 3, 5))
    spread = np.full((3, 1), 3.0)
    spread[stable] = 0.3
    views = logits + rng.normal(size=(2, 2, 400, 3, 5)) * spread
    weights = sade_weights(Evidence(logits.astype(np.float32), views.astype(np.float32)), objective)
    assert weights[stable] > 1 / 3
    assert weights.argmax() == stable


@given(seeds, st.integers(2, 5), st.integers(1, 300), st.sampled_from(["cosine", "inner"]))
def test_sade_weights_stay_on_the_simplex(seed: int, experts: int, images: int, objective: str) -> None:
    evidence, _ = evidence_of(seed, images=images, experts=experts)
    weights = sade_weights(evidence, objective, seed)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(), 1, atol=1e-12)


def with_parts(evidence: Evidence, seed: int) -> Evidence:
    """Evidence with everything that an adapter may read; the heads are those of random classifiers."""
    rng = np.random.default_rng(seed)
    images, experts, classes = evidence.logits.shape
    points = lattice(experts, steps=2)
    source = np.arange(20 * classes) % classes
    known = rng.normal(size=(len(source), experts, classes)) + 2 * np.eye(classes)[source][:, None]
    features = rng.normal(size=(images, experts, 4)).astype(np.float32)
    return replace(
        evidence,
        gate_logits=rng.normal(size=(images, experts - 1)).astype(np.float32),
        features=features,
        classifiers=Classifiers(rng.normal(size=(experts, 4, classes)).astype(np.float32)),
        source=Source(known.astype(np.float32), source, 0),
        view_features=(features + rng.normal(size=(2, 2, images, experts, 4))).astype(np.float32),
        head=PreferenceHeads(
            points,
            rng.normal(size=(len(points), experts, 4, classes)).astype(np.float32),
            30.0,
            rng.dirichlet(np.ones(classes), size=len(points)),
        ),
    )


WHERE_ZERO_IS = ["lsc"]
"""They set logits to zero, so they ask where zero is."""


@given(seeds, st.sampled_from([name for name in adapters.ADAPTERS if name not in WHERE_ZERO_IS]))
def test_a_constant_per_image_changes_no_prediction(seed: int, name: str) -> None:
    evidence, priors = evidence_of(seed)
    evidence = with_parts(evidence, seed)
    rng = np.random.default_rng(seed + 1)
    images, _, classes = evidence.logits.shape
    constant = rng.normal(scale=5, size=(images, 1, 1)).astype(np.float32)
    assert evidence.views is not None
    assert evidence.source is not None
    source = replace(evidence.source, logits=evidence.source.logits + rng.normal(scale=5, size=(20 * classes, 1, 1)))
    moved = replace(evidence, logits=evidence.logits + constant, views=evidence.views + constant, source=source)
    adapter, labels = adapters.get(name), rng.integers(classes, size=images)
    predictions = []
    for one in (evidence, moved):
        if isinstance(adapter, TruthAdapter):
            fitted = adapter.fit_with_truth(one, np.ones(classes, int), priors, labels)
        else:
            fitted = adapter.fit(one, np.ones(classes, int), priors, 0)
        predictions.append(fitted.predict(one))
    gap = np.sort(predictions[0], axis=1)
    clear = gap[:, -1] - gap[:, -2] > 1e-3  # nearer than this, float32 decides
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(predictions[0].argmax(1)[clear], predictions[1].argmax(1)[clear])


STREAMS = ["stream_sade", "stream_em", "stream_em:memory=0.5", "stream_em_bcts", "stream_history", "stream_flh_ftl"]
STREAMS += ["stream_rogd", "stream_em:first=answer", "stream_history:first=adapt", "stream_sade:first=answer"]


@given(
    seeds,
    st.sampled_from(STREAMS),
    st.integers(0, 5),
)
def test_what_arrives_later_changes_no_earlier_prediction(seed: int, name: str, last: int) -> None:
    """Full batches 0..last are answered the same whatever follows: other images, in another number, or none."""
    first, priors = evidence_of(seed, images=110)
    other, _ = evidence_of(seed + 1, images=70)
    whole, other = with_parts(first, seed), with_parts(other, seed + 1)
    adapter = adapters.get(f"{name}{',' if ':' in name else ':'}batch=16")
    assert isinstance(adapter, StreamAdapter)
    seen = min(16 * (last + 1), 110)

    def answers(evidence: Evidence) -> np.ndarray:
        return np.asarray(adapter.fit(evidence, np.ones(5, int), priors, 0).predict(evidence)[:seen])

    assert whole.views is not None
    assert other.views is not None
    followed = replace(
        whole,
        logits=np.concatenate([whole.logits[:seen], other.logits]),
        views=np.concatenate([whole.views[:, :, :seen], other.views], axis=2),
    )
    expected = answers(whole)
    np.testing.assert_array_equal(answers(followed), expected)
    np.testing.assert_array_equal(answers(whole.take(np.arange(seen))), expected)


ANSWER_FIRST = ["stream_history", "stream_flh_ftl", "stream_rogd"]
ANSWER_FIRST += ["stream_em:first=answer", "stream_em_bcts:first=answer"]


@given(seeds, st.sampled_from(ANSWER_FIRST))
def test_what_answers_first_does_not_know_the_batch_that_it_answers(seed: int, name: str) -> None:
    """What is added to an image's logits follows from earlier batches alone."""
    evidence, priors = evidence_of(seed, images=48)
    evidence = with_parts(evidence, seed)
    changed = replace(evidence, logits=evidence.logits.copy())
    changed.logits[32:] = changed.logits[32:][::-1] * 2
    before, after = (
        adapters.get(f"{name}{',' if ':' in name else ':'}batch=16").fit(  # type: ignore[union-attr]
            one, np.ones(5, int), priors, 0
        )
        for one in (evidence, changed)
    )
    np.testing.assert_array_equal(before.bias_at, after.bias_at)
    assert not np.array_equal(before.prior, after.prior)
