"""Routing by threshold: against the adapter `routed`, published MACs, real skipping, and the command end to end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.adapters.routed import Routed
from harness.evidence import files as evidence
from harness.evidence.arrays import Evidence, PoolEvidence
from harness.measures.metrics import evaluate
from harness.records import rows
from harness.studies.route.routing import PUBLISHED, THRESHOLDS, macs_of, routes
from harness.studies.route.rows import MeasuredRow, RouteRow
from methods.core.batch import NetworkSpec
from methods.networks.macs import count_macs
from methods.networks.skipping import forward_routed
from methods.papers.ride import Ride
from methods.papers.ride_distilled import RideDistilled
from methods.papers.softmax import Softmax
from tests.harness.small import Result, call, command, one_line, random_pool, stamps, visible

CIFAR100 = NetworkSpec("resnet32", (1,) * 100, (32, 32))


def gated(seed: int = 0, images: int = 200, experts: int = 3) -> PoolEvidence:
    """A random pool with gates of all kinds of decisions."""
    pool = random_pool(seed, images=images, experts=experts, pairs=0)
    gates = np.random.default_rng(seed).normal(scale=3, size=(images, experts - 1)).astype(np.float32)
    return replace(pool, evidence=Evidence(pool.evidence.logits, gate_logits=gates))


@pytest.mark.parametrize("experts", [2, 3, 5])
def test_every_figure_is_that_of_the_adapter(experts: int) -> None:
    pool = gated(experts=experts)
    draws = [np.arange(200), np.random.default_rng(0).permutation(200)[:80], np.flatnonzero(pool.labels < 3)]
    for draw, of_draw in zip(draws, routes(pool, draws), strict=True):
        assert [route.threshold for route in of_draw] == list(THRESHOLDS)
        taken = pool.evidence.take(draw)
        for route in of_draw:
            fitted = Routed(route.threshold).fit(taken, pool.train_counts, pool.expert_priors, 0)
            metrics = evaluate(fitted.predict(taken), pool.labels[draw], pool.train_counts)
            for name in ("top1", "many", "medium", "few", "macro"):
                assert getattr(route, name) == pytest.approx(getattr(metrics, name)), name
            assert route.mean_experts == pytest.approx(fitted.mean_experts(taken))
            used = fitted.used(taken)
            assert route.shares == pytest.approx([float((used == k + 1).mean()) for k in range(experts)])
        everyone = evaluate(taken.logits.mean(1), pool.labels[draw], pool.train_counts).top1
        assert [route.top1_all for route in of_draw] == pytest.approx([everyone] * len(of_draw))
        assert of_draw[0].shares[-1] == 1
        assert of_draw[0].top1 == pytest.approx(everyone)
        assert of_draw[-1].shares[0] == 1


@given(st.integers(0, 10**6), st.integers(2, 5))
def test_invariants(seed: int, experts: int) -> None:
    pool = gated(seed, images=60, experts=experts)
    draw = np.random.default_rng(seed).permutation(60)[:40]
    (found,) = routes(pool, [draw])
    means = [route.mean_experts for route in found]
    assert means == sorted(means, reverse=True), "a higher threshold never runs more experts"
    for route in found:
        assert sum(route.shares) == pytest.approx(1)
        assert 1 <= route.mean_experts <= experts
        sizes = {"many": 0, "medium": 0, "few": 0}
        for name, members in zip(sizes, _members(pool, draw), strict=True):
            sizes[name] = members
            assert (route.by_group[name] is None) == (members == 0)
        mixed = sum(np.array(route.by_group[name] or 0) * size / 40 for name, size in sizes.items())
        np.testing.assert_allclose(mixed, route.shares, atol=1e-12)
    (again,) = routes(pool, [np.random.default_rng(1).permutation(draw)])
    assert [(a.top1, a.shares) for a in again] == [(b.top1, b.shares) for b in found], "order of images is nothing"


def _members(pool: PoolEvidence, draw: np.ndarray) -> list[int]:
    counts = pool.train_counts[pool.labels[draw]]
    return [int((counts > 100).sum()), int(((counts >= 20) & (counts <= 100)).sum()), int((counts < 20).sum())]


def test_published_cost() -> None:
    """RIDE's own example: 40.99 / 9.47 / 49.54 % after 1, 2, 3 experts are 2.0855 experts and 77.8 M MACs."""
    found = macs_of(Ride(), CIFAR100)
    assert found is not None
    shared, each = found
    assert (round(shared / 1e6, 2), round(each / 1e6, 2)) == (24.40, 25.63)
    mean = 0.4099 + 2 * 0.0947 + 3 * 0.4954
    assert mean == pytest.approx(2.0855)
    assert (shared + each * mean) / 1e6 == pytest.approx(77.84, abs=0.01)
    assert found == macs_of(RideDistilled(), CIFAR100)
    with torch.device("meta"):
        assert shared + 4 * each == count_macs(Ride(experts=4).network(CIFAR100), (32, 32))
    assert macs_of(Softmax(), CIFAR100) is None


@torch.inference_mode()
@pytest.mark.parametrize("experts", [2, 3, 4])
@pytest.mark.parametrize("threshold", [0.0, 0.35, 0.5, 0.65, 1.0])
def test_skipping_gives_what_thresholding_afterwards_gives(experts: int, threshold: float) -> None:
    torch.manual_seed(experts)
    spec = NetworkSpec("resnet8", (9,) * 6, (16, 16))
    network = Ride(experts=experts).network(spec).eval()
    network.gate.shared.weight.data *= 0.05
    images = 2 * torch.randn(64, 3, 16, 16)
    output = network(images)
    # half of the images go on to the second expert
    network.gate.shared.bias.data -= network.gate_logits(output)[:, 0].median()
    gates = network.gate_logits(output)
    whole = Evidence(output.logits.numpy(), gate_logits=gates.numpy())
    counts, priors = np.full(6, 9), Ride(experts=experts).expert_priors(np.full(6, 9))
    fitted = Routed(threshold).fit(whole, counts, priors, 0)
    for memory in (torch.contiguous_format, torch.channels_last):
        network = network.to(memory_format=memory)  # type: ignore[call-overload]
        logits, used = forward_routed(network, images.contiguous(memory_format=memory), threshold)
        assert np.array_equal(used.numpy(), fitted.used(whole))
        np.testing.assert_allclose(logits.numpy(), fitted.predict(whole), atol=1e-4)
    if threshold in (0.0, 1.0):
        assert set(used.tolist()) == {experts if threshold == 0 else 1}
    elif threshold == 0.5:
        assert len(set(used.tolist())) > 1, "the test must see several routes"


@torch.inference_mode()
def test_an_expert_that_nobody_wants_is_not_run() -> None:
    network = Ride().network(NetworkSpec("resnet8", (9,) * 6, (16, 16))).eval()
    seen: list[list[int]] = [[], [], []]
    for number, branch in enumerate(network.experts.branches):  # type: ignore[union-attr,arg-type]
        branch.register_forward_hook(lambda _, inputs, __, number=number: seen[number].append(len(inputs[0])))
    network.gate.shared.weight.data.zero_()
    network.gate.shared.bias.data.fill_(-1.0)
    forward_routed(network, torch.randn(5, 3, 16, 16), 0.5)
    assert seen == [[5], [], []]
    network.experts = torch.nn.Identity()
    with pytest.raises(TypeError, match="expert by expert"):
        forward_routed(network, torch.randn(5, 3, 16, 16), 0.5)


@pytest.fixture(scope="module")
def asked(data: Path, recipe: Path) -> list[str]:
    given = ["--dataset", str(data), "--recipe", str(recipe), "--device", "cpu", "--train-imbalance", "10"]
    return [*given, "--views", "0", "--methods", "ride"]


@pytest.fixture(scope="module")
def routed(asked: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    results = tmp_path_factory.mktemp("routed") / "results"
    given = ["--shift", "uniform", "backward_lt-5", "--measure", "--repeats", "2"]
    result = call(*asked, *given, "--results", results, module="harness.route")
    assert result.status == 0, result.err
    return results, result


def test_rows_of_routes(routed: tuple[Path, Result], asked: list[str]) -> None:
    results, result = routed
    assert result.err == ""
    found = RouteRow.files().load_all(results)
    assert len(found) == 2 * len(THRESHOLDS)
    ran = call(
        *asked,
        "--shift",
        "uniform",
        "backward_lt-5",
        "--redraws",
        "0",
        "--adapters",
        "mean",
        "routed",
        "--results",
        results,
    )
    assert ran.status == 0, ran.err
    main = {(row.shift, row.adapter): row for row in rows.load_all(results)}
    for row in found:
        assert row.published == (row.threshold == PUBLISHED)
        assert row.macs is not None
        assert row.macs_all == main[row.shift, "routed"].macs
        assert 0 < row.macs <= row.macs_all  # type: ignore[operator]
        assert row.top1_all == pytest.approx(main[row.shift, "mean"].top1)
        if row.published:
            same = main[row.shift, "routed"]
            assert (row.indices_sha256, row.checkpoint_sha256) == (same.indices_sha256, same.checkpoint_sha256)
            for name in ("top1", "many", "medium", "few", "macro", "mean_experts"):
                assert getattr(row, name) == pytest.approx(getattr(same, name)), name
    for word in ("0.5*", "stop 3", "MACs", "B5", "skipping ms", str(results / "routes")):
        assert word in result.out
    assert max(map(len, result.out.split("stored:")[0].splitlines())) <= 120


def test_the_measured_run_agrees_with_the_evidence(routed: tuple[Path, Result]) -> None:
    results, _ = routed
    measured = {row.shift: row for row in MeasuredRow.files().load_all(results)}
    assert set(measured) == {"uniform", "backward_lt-5"}
    published = {row.shift: row for row in RouteRow.files().load_all(results) if row.published}
    for shift, row in measured.items():
        assert row.images == row.n == published[shift].n
        assert row.agreed == 1
        assert row.largest_difference < 1e-3
        assert row.mean_experts == pytest.approx(published[shift].mean_experts)
        assert row.macs == pytest.approx(published[shift].macs)
        for times in (row.seconds, row.seconds_all, row.cpu_seconds, row.cpu_seconds_all):
            assert len(times) == 2
            assert all(value > 0 for value in times)
        assert row.faster > 0
        assert row.cpu_ratio > 0


def test_again_nothing_other_thresholds_are_added(routed: tuple[Path, Result], asked: list[str]) -> None:
    results, first = routed
    given = ["--shift", "uniform", "backward_lt-5", "--measure", "--repeats", "2", "--results", results]
    before = stamps(results)
    again = call(*asked, *given, module="harness.route")
    assert (again.status, again.out) == (0, first.out)
    assert stamps(results) == before
    more = call(*asked, "--shift", "uniform", "--thresholds", "0.25", "--results", results, module="harness.route")
    assert more.status == 0, more.err
    new = [row for row in RouteRow.files().load_all(results) if row.threshold == 0.25]
    assert [row.shift for row in new] == ["uniform"]
    shown = [line.split()[0] for line in more.out.splitlines() if line and line[0] == "0"]
    assert shown == ["0.25", "0.5*"], "what was asked for, and the released threshold"
    plan = call(*asked, "--shift", "uniform", "forward_lt-3", "--results", results, "--dry-run", module="harness.route")
    assert "1 of 2 shifts done" in plan.out


def test_somebody_elses_gates(tmp_path: Path) -> None:
    file = tmp_path / "theirs.safetensors"
    evidence.save(file, gated())
    result = call("--evidence", file, "--shift", "uniform", "--results", tmp_path / "results", module="harness.route")
    assert result.status == 0, result.err
    found = RouteRow.files().load_all(tmp_path / "results")
    assert len(found) == len(THRESHOLDS)
    assert {(row.macs, row.macs_all, row.train_seed) for row in found} == {(None, None, None)}


def test_bad_input_is_one_line_and_writes_nothing(tmp_path: Path, data: Path, recipe: Path) -> None:
    results = tmp_path / "results"
    file = tmp_path / "theirs.safetensors"
    evidence.save(file, gated())
    plain = tmp_path / "plain.safetensors"
    evidence.save(plain, random_pool())
    small = ["--dataset", data, "--recipe", recipe, "--train-imbalance", "10", "--shift", "uniform"]
    for arguments, said in [
        ([*small, "--methods", "sade"], "sade has no gates"),
        ([*small, "--thresholds", "1.5"], "1.5"),
        ([*small, "--thresholds", "half"], "probability"),
        ([*small, "--repeats", "0"], ">= 1"),
        (["--evidence", plain, "--shift", "uniform"], "plain has no gates"),
        (["--evidence", file, "--shift", "uniform", "--measure"], "--measure"),
        (["--evidence", file, "--recipe", "published"], "--recipe"),
    ]:
        refused = call(*arguments, "--results", results, module="harness.route")
        assert refused.status == 2, arguments
        assert said in one_line(refused.err)
        assert visible(results) == []


def test_help_comes_without_torch() -> None:
    shown = command("--help", module="harness.route")
    assert shown.status == 0
    assert "--measure" in shown.out
