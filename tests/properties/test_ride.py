"""What must hold of routing, gate targets and the class-balanced sampler for any input."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.adapters.routed import RoutedExperts
from harness.evidence.arrays import Evidence
from methods.core.batch import ExpertOutput
from methods.core.samplers import class_balanced, instance
from methods.losses import gate_targets, gating
from methods.networks.routing import RoutingGate

seeds = st.integers(0, 2**31 - 1)
thresholds = st.floats(0, 1)


def evidence_of(seed: int, experts: int, images: int = 60, classes: int = 4) -> Evidence:
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(images, experts, classes)).astype(np.float32)
    return Evidence(logits, gate_logits=rng.normal(scale=2, size=(images, experts - 1)).astype(np.float32))


def output_of(seed: int, experts: int, images: int = 20, classes: int = 4) -> tuple[ExpertOutput, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, experts, classes, generator=generator, dtype=torch.float64)
    features = torch.rand(images, experts, 6, generator=generator, dtype=torch.float64)
    return ExpertOutput(logits, features), torch.randint(0, classes, (images,), generator=generator)


@given(seeds, st.integers(2, 6), thresholds)
def test_routing_equals_running_experts_one_after_the_other(seed: int, experts: int, threshold: float) -> None:
    evidence, fitted = evidence_of(seed, experts), RoutedExperts(threshold)
    assert evidence.gate_logits is not None
    used, predicted = fitted.used(evidence), fitted.predict(evidence)
    for image, gates in enumerate(evidence.gate_logits.astype(np.float64)):
        total, run = evidence.logits[image, 0].copy(), 1
        while run < experts and 1 / (1 + np.exp(-gates[run - 1])) > threshold:
            total += evidence.logits[image, run]
            run += 1
        assert used[image] == run
        np.testing.assert_allclose(predicted[image], total / run, rtol=1e-5, atol=1e-5)


@given(seeds, st.integers(2, 6), thresholds, thresholds)
def test_a_higher_threshold_runs_no_more_experts(seed: int, experts: int, first: float, second: float) -> None:
    evidence = evidence_of(seed, experts)
    low, high = sorted([first, second])
    assert (RoutedExperts(high).used(evidence) <= RoutedExperts(low).used(evidence)).all()


@given(seeds, st.integers(2, 6))
def test_gate_targets_equal_their_definition(seed: int, experts: int) -> None:
    output, target = output_of(seed, experts)
    found = gate_targets(output.logits, target)
    for image, label in enumerate(target):
        right = [bool(output.logits[image, : e + 1].sum(0).argmax() == label) for e in range(experts)]
        assert found[image].tolist() == [not right[i] and any(right[i + 1 :]) for i in range(experts - 1)]


@given(seeds, st.integers(2, 6))
def test_gates_depend_on_earlier_experts_and_their_own_image_only(seed: int, experts: int) -> None:
    output, _ = output_of(seed, experts)
    torch.manual_seed(seed)
    gate = RoutingGate(experts, dim=6, top=4).double()
    expected = gate(output)
    torch.testing.assert_close(gate(ExpertOutput(output.logits.flip(0), output.features.flip(0))), expected.flip(0))
    # class order does not matter, nor the length of features, nor what the last expert says
    torch.testing.assert_close(gate(ExpertOutput(output.logits.flip(2), output.features * 7)), expected)
    changed = output.logits.clone()
    changed[:, -1] += 100
    assert torch.equal(gate(ExpertOutput(changed, output.features)), expected)


@given(seeds, st.integers(2, 4), st.floats(0.1, 200))
def test_the_gates_gradient_points_at_their_targets(seed: int, experts: int, weight: float) -> None:
    output, target = output_of(seed, experts)
    gates = torch.zeros(20, experts - 1, dtype=torch.float64, requires_grad=True)
    logits = output.logits.requires_grad_()
    loss = gating(gates, logits, target, weight)
    (gradient,) = torch.autograd.grad(loss, gates)
    positive = gate_targets(logits, target)
    expected = torch.where(positive, -weight / 2, 0.5).to(gradient.dtype) / gates.numel()
    torch.testing.assert_close(gradient, expected)


@given(seeds, st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any))
def test_samplers_run_through_each_class_in_cycles(seed: int, counts: list[int]) -> None:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    generator = torch.Generator().manual_seed(seed)
    counted = torch.tensor(counts).float()
    order = class_balanced(labels, counted, generator)
    assert order.shape == labels.shape
    for label, count in enumerate(counts):
        drawn = order[labels[order] == label]
        cycles = list(drawn.split(count)) if count else []
        assert sum(map(len, cycles)) == len(drawn)
        assert all(len(cycle.unique()) == len(cycle) for cycle in cycles)
        assert all(torch.equal(cycle, cycles[0][: len(cycle)]) for cycle in cycles)
    assert instance(labels, counted, generator).sort().values.tolist() == list(range(len(labels)))
