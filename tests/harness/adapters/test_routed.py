"""Routed: hand-made routes, its limits (all open, all closed), and what it refuses."""

import numpy as np
import pytest

from harness import adapters
from harness.adapters.mean import Mean
from harness.adapters.routed import Routed, RoutedExperts
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors
from shifts.common.errors import BadInput


def evidence_of(gates: np.ndarray | list[list[float]], classes: int = 5) -> Evidence:
    gate_logits = np.asarray(gates, dtype=np.float32)
    images, number = gate_logits.shape
    logits = np.random.default_rng(0).normal(scale=5, size=(images, number + 1, classes))
    return Evidence(logits.astype(np.float32), gate_logits=gate_logits)


def fit(evidence: Evidence, adapter: Routed | Mean | None = None) -> RoutedExperts:
    _, experts, classes = evidence.logits.shape
    priors = ExpertPriors(np.full((experts, classes), 1 / classes), exact=True)
    return (adapter or Routed()).fit(evidence, np.ones(classes, int), priors, 0)  # type: ignore[return-value]


def test_routes_by_hand() -> None:
    # an image that stopped stays stopped; a gate exactly at the threshold stops
    evidence = evidence_of([[-1, -1], [1, -1], [1, 1], [-1, 1], [0, 1]])
    fitted = fit(evidence)
    assert fitted.used(evidence).tolist() == [1, 2, 3, 1, 1]
    assert fitted.mean_experts(evidence) == pytest.approx(8 / 5)
    expected = [logits[:used].mean(0) for logits, used in zip(evidence.logits, [1, 2, 3, 1, 1], strict=True)]
    np.testing.assert_allclose(fitted.predict(evidence), expected, rtol=1e-6)
    assert fitted.weights is None
    assert fitted.prior is None


@pytest.mark.parametrize("experts", [2, 3, 4, 6])
def test_open_gates_are_the_mean_and_closed_gates_the_first_expert(experts: int) -> None:
    opened, closed = (evidence_of(np.full((50, experts - 1), value)) for value in (40.0, -40.0))
    fitted = fit(opened)
    np.testing.assert_allclose(fitted.predict(opened), fit(opened, Mean()).predict(opened), rtol=1e-5, atol=1e-5)
    assert fitted.mean_experts(opened) == experts
    assert np.array_equal(fitted.predict(closed), closed.logits[:, 0])
    assert fitted.mean_experts(closed) == 1


def test_the_threshold_is_a_probability() -> None:
    evidence = evidence_of([[1.0, 1.0]])  # sigmoid 0.731
    assert fit(evidence, adapters.get("routed:threshold=0.73")).used(evidence).tolist() == [3]  # type: ignore[arg-type]
    assert fit(evidence, adapters.get("routed:threshold=0.74")).used(evidence).tolist() == [1]  # type: ignore[arg-type]
    for text in ("routed:threshold=1.5", "routed:threshold=-0.1", "routed:threshold=nan"):
        with pytest.raises(BadInput):
            adapters.get(text)


def test_what_it_knows_is_declared() -> None:
    assert Routed.access == ("none", "none", "inductive")
    assert Routed.reads == ("gate_logits",)
    assert "routed" in dict(adapters.names())


def test_evidence_without_usable_gates_is_refused() -> None:
    evidence = evidence_of([[1, 2], [3, 4]])
    without = Evidence(evidence.logits)
    assert Routed().missing(without) == "the evidence has no gate_logits"
    with pytest.raises(ValueError, match="no gate_logits"):
        fit(without)
    with pytest.raises(ValueError, match="none"):
        fit(evidence).predict(without)
    with pytest.raises(ValueError, match=r"\[2, 2\]"):
        fit(Evidence(evidence.logits, gate_logits=np.zeros((2, 3), np.float32)))
    with pytest.raises(ValueError, match="single expert"):
        fit(Evidence(evidence.logits[:, :1], gate_logits=np.zeros((2, 1), np.float32)))
    broken = evidence_of([[1, 2], [np.nan, 4]])
    with pytest.raises(ValueError, match="gate logits of image 1"):
        fit(broken)
