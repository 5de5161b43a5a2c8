"""The protocol: from a pool's evidence and a shift to rows. Draw, adapt, predict, measure; labels only measure.

An adapter gets a draw in a permutation seeded by the draw seed, because draws come class by class and nothing that
reads batches in order may see that; a stream may ask for one that drifts, which is made here from labels that it does
not see. Predictions are put back in place before they meet a label.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from harness.adapters.mean import Mean
from harness.adapters.parts.contract import Adapter, Fitted, TruthAdapter
from harness.adapters.parts.streams import BATCH, Arriving
from harness.evidence.arrays import Evidence, PoolEvidence, Source
from harness.evidence.heads import Classifiers, PreferenceHeads
from harness.measures.metrics import (
    METRICS_VERSION,
    Accuracy,
    Metrics,
    accuracy,
    evaluate,
    expected_top1,
    shot_groups,
    tv_estimate_test,
    tv_predicted_test,
    view_stability,
)
from harness.measures.statistics import mcnemar, wilson
from harness.protocol.arrival import arrival
from harness.protocol.draws import Draw
from methods.core.options import canonical_name
from methods.core.priors import ExpertPriors
from shifts.labels.distance import etvd, total_variation, tv_experts_test_mean
from shifts.labels.draw import indices_sha256

AnyAdapter = Adapter | TruthAdapter


@dataclass(frozen=True)
class Outcome:
    """One adapter on one draw: of a redraw the accuracy alone, of the published draw all metrics."""

    accuracy: Accuracy
    fitted: Fitted
    correct: Bool[np.ndarray, " drawn"]
    seconds: float
    mean_experts: float
    metrics: Metrics | None = None


def probe(
    experts: int, classes: int, views: int, gates: bool = False, preference: bool = False, last: bool = False
) -> Evidence:
    """Return evidence of one blank image with source and these parts.

    `Adapter.missing` needs no more to say whether the adapter applies.
    preference: with features of images and views, and heads; last: with features of images, and classifiers.
    """
    blank, features = np.zeros((1, experts, classes), np.float32), np.zeros((1, experts, 1), np.float32)
    heads = PreferenceHeads(
        points=np.full((1, experts), 1 / experts),
        weights=np.zeros((1, experts, 1, classes), np.float32),
        scale=1.0,
        priors=np.full((1, classes), 1 / classes),
    )
    return Evidence(
        logits=blank,
        views=np.zeros((views, 2, *blank.shape), np.float32) if views else None,
        features=features if preference or last else None,
        view_features=np.zeros((views, 2, *features.shape), np.float32) if preference and views else None,
        gate_logits=np.zeros((1, experts - 1), np.float32) if gates else None,
        head=heads if preference else None,
        classifiers=Classifiers(np.zeros((experts, 1, classes), np.float32)) if last else None,
        source=Source(np.zeros((classes, experts, classes), np.float32), np.arange(classes), 0),
    )


def adapt(adapter: AnyAdapter, pool: PoolEvidence, draw: Draw, *, in_full: bool = True) -> Outcome:
    """Fit an adapter to one draw's unlabelled images (a TruthAdapter: with labels), predict them, measure.

    The adapter gets the parts of the evidence that it says it reads. in_full: all metrics, not the accuracy alone.
    """
    batches, asked = (adapter.batch, adapter.order) if isinstance(adapter, Arriving) else (BATCH, "shuffled")
    order = arrival(asked, pool.labels[draw.indices], pool.train_counts, draw.seed, batches)
    shown = draw.indices[order]
    evidence = pool.evidence.take(shown, adapter.reads)
    start = time.perf_counter()
    if isinstance(adapter, TruthAdapter):
        fitted = adapter.fit_with_truth(evidence, pool.train_counts, pool.expert_priors, pool.labels[shown])
    else:
        fitted = adapter.fit(evidence, pool.train_counts, pool.expert_priors, draw.seed)
    logits = np.empty(evidence.logits.shape[::2], dtype=np.float32)
    logits[order] = fitted.predict(evidence)
    seconds = time.perf_counter() - start
    measured = logits, pool.labels[draw.indices], pool.train_counts, draw.indices
    metrics = evaluate(*measured) if in_full else None
    found = accuracy(*measured)[0] if metrics is None else metrics
    correct = logits.argmax(axis=1) == pool.labels[draw.indices]
    run = getattr(fitted, "mean_experts", None)
    experts = float(evidence.logits.shape[1]) if run is None else float(run(evidence))
    return Outcome(found, fitted, correct, seconds, experts, metrics)


def measure(pool: PoolEvidence, adapters: Sequence[AnyAdapter], draws: Sequence[Draw]) -> Iterator[dict[str, Any]]:
    """Return the row fields of each adapter, in order.

    They have the first draw in full, redraws as scalars, deltas to `mean` on each.
    """
    references = [adapt(Mean(), pool, draw, in_full=number == 0) for number, draw in enumerate(draws)]
    reads_views = any("views" in adapter.reads for adapter in adapters)
    stability = _stability(pool, draws[0]) if reads_views and pool.evidence.views is not None else None
    for adapter in adapters:
        outcomes = [
            references[number] if isinstance(adapter, Mean) else adapt(adapter, pool, draw, in_full=number == 0)
            for number, draw in enumerate(draws)
        ]
        first, reference = outcomes[0], references[0]
        assert first.metrics is not None
        low, high = wilson(int(first.correct.sum()), first.accuracy.n)
        fields = asdict(first.metrics)
        fields |= _distances(pool, first, _estimate(adapter, first))
        fields |= {
            "metrics_version": METRICS_VERSION,
            "top1_low": low,
            "top1_high": high,
            "delta_to_mean": first.accuracy.top1 - reference.accuracy.top1,
            "mcnemar_p_to_mean": mcnemar(first.correct, reference.correct),
            "expected_top1": _expected(pool, adapter, first.accuracy.per_class_total),
            "weights": _floats(first.fitted.weights if adapter.least_experts > 1 else None),
            "preference": _floats(getattr(first.fitted, "preference", None)),
            "prior_estimate": _floats(_estimate(adapter, first)),
            "view_stability": stability if "views" in adapter.reads else None,
            "mean_experts": first.mean_experts,
            "adapt_seconds": first.seconds,
            "draw_seed": draws[0].seed,
            "indices_sha256": indices_sha256(draws[0].indices),
            "redraws": [
                _scalars(draw, outcome, base, _estimate(adapter, outcome))
                for draw, outcome, base in zip(draws[1:], outcomes[1:], references[1:], strict=True)
            ],
        }
        yield fields


def settings_of(adapter: AnyAdapter, evidence: Evidence) -> dict[str, Any]:
    """Return the row fields that determine an adapter's result besides the evidence.

    They are its name with options, its version and the view pairs.
    """
    read = [getattr(evidence, part) for part in ("views", "view_features") if part in adapter.reads]
    return {
        "adapter": canonical_name(adapter),
        "adapter_version": adapter.version,
        "views": next((len(pairs) for pairs in read if pairs is not None), None),
    }


def declared(adapter: AnyAdapter, evidence: Evidence, priors: ExpertPriors) -> dict[str, Any]:
    """Return the row fields that say what an adapter is and what it knew."""
    source = evidence.source if "source" in adapter.reads else None
    return {
        **settings_of(adapter, evidence),
        **adapter.access.fields,
        "target_prior_kind": priors.kind,
        "source_n": 0 if source is None else len(source.labels),
        "source_seen": 0 if source is None else source.seen,
        "selection": "last",
    }


def _estimate(adapter: AnyAdapter, outcome: Outcome) -> Float[np.ndarray, " classes"] | None:
    """Return an adapter's estimate of the test prior; what a TruthAdapter was told is none."""
    return None if isinstance(adapter, TruthAdapter) else outcome.fitted.prior


def _distances(
    pool: PoolEvidence, outcome: Outcome, estimate: Float[np.ndarray, " classes"] | None
) -> dict[str, float | None]:
    totals = np.array(outcome.accuracy.per_class_total)
    return {
        "tv_train_test": total_variation(pool.train_counts, totals),
        "tv_experts_test_mean": tv_experts_test_mean(pool.expert_priors.values, totals),
        "etvd": etvd(pool.expert_priors.values),
        "tv_estimate_test": None if estimate is None else tv_estimate_test(estimate, totals),
        "tv_predicted_test": tv_predicted_test(outcome.accuracy),
    }


def _scalars(
    draw: Draw, outcome: Outcome, reference: Outcome, estimate: Float[np.ndarray, " classes"] | None
) -> dict[str, Any]:
    """Return what a redraw keeps, rounded to six decimals: thousands of rows have ten redraws."""
    found = outcome.accuracy
    kept = {
        "draw_seed": draw.seed,
        "n": found.n,
        "top1": found.top1,
        "many": found.many,
        "medium": found.medium,
        "few": found.few,
        "delta_to_mean": found.top1 - reference.accuracy.top1,
        "tv_predicted_test": tv_predicted_test(found),
        "tv_estimate_test": None if estimate is None else tv_estimate_test(estimate, found.per_class_total),
    }
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in kept.items()}


def _expected(pool: PoolEvidence, adapter: AnyAdapter, totals: Sequence[int]) -> float | None:
    """Return the mean top-1 over all draws with these class totals, from the pool.

    None where predictions depend on the draw.
    """
    if isinstance(adapter, TruthAdapter) or adapter.access.test != "inductive":
        return None
    name = canonical_name(adapter)
    if name not in pool.accuracies:
        fitted = adapter.fit(pool.evidence, pool.train_counts, pool.expert_priors, 0)
        predicted = fitted.predict(pool.evidence).argmax(1)
        right = np.bincount(pool.labels[predicted == pool.labels], minlength=len(pool.train_counts))
        pool.accuracies[name] = right / np.bincount(pool.labels, minlength=len(pool.train_counts))
    return expected_top1(pool.accuracies[name], totals)


def _stability(pool: PoolEvidence, draw: Draw) -> dict[str, list[float] | None]:
    views = pool.evidence.views
    assert views is not None  # only asked for where the adapter read views
    found = view_stability(views[:, :, draw.indices], pool.labels[draw.indices], shot_groups(pool.train_counts))
    return {group: None if values is None else list(values) for group, values in found.items()}


def _floats(values: Float[np.ndarray, "..."] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]
