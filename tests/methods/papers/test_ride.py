"""RIDE whole: published sizes, gate inputs and targets, frozen experts, the teacher, and resuming across stages."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from methods import papers
from methods.core import recipes
from methods.core.batch import Batch, ExpertOutput, NetworkSpec
from methods.core.method import Method
from methods.core.samplers import class_balanced
from methods.core.stage import Schedule
from methods.losses import distillation, gate_targets, gating, ride
from methods.networks.cifar_resnet import expert_resnet
from methods.networks.macs import count_macs, count_parameters, split_macs
from methods.networks.routing import GatedExperts, RoutingGate
from methods.papers.ride import Ride
from methods.papers.ride_distilled import Pair, RideDistilled
from methods.training.checkpoint import load_tensors
from methods.training.loop import build_network
from shifts.common.errors import BadInput
from tests.methods import tiny

CIFAR100 = NetworkSpec("resnet32", (1,) * 100, (32, 32))
PARAMETERS = {2: 530_512, 3: 783_856, 4: 1_037_200, 6: 1_543_888}
MEGAMACS = {2: 75.65, 3: 101.27, 4: 126.90, 6: 178.15}


def random_output(experts: int, classes: int, dim: int = 5, batch: int = 7, seed: int = 0) -> ExpertOutput:
    generator = torch.Generator().manual_seed(seed)
    logits = 10 * torch.randn(batch, experts, classes, generator=generator)
    return ExpertOutput(logits, torch.rand(batch, experts, dim, generator=generator))


@pytest.mark.parametrize("experts", PARAMETERS)
def test_published_sizes(experts: int) -> None:
    network = Ride(experts=experts).network(CIFAR100)
    assert count_parameters(network.experts) == PARAMETERS[experts]
    assert count_parameters(network.gate) == (experts - 1) * 784 + 47
    assert count_macs(network, (32, 32)) / 1e6 == pytest.approx(MEGAMACS[experts], abs=0.005)


def test_published_gate_size_and_routed_macs() -> None:
    assert count_parameters(RoutingGate(experts=3, dim=48, top=30)) == 1615
    shared, per_expert = split_macs(lambda experts: expert_resnet(CIFAR100, experts, reduced=True), (32, 32))
    assert (shared / 1e6, per_expert / 1e6) == pytest.approx((24.396, 25.625), abs=0.0005)
    used = [1] * 4099 + [2] * 947 + [3] * 4954
    assert sum(used) / len(used) == pytest.approx(2.0855)
    assert (shared + per_expert * sum(used) / len(used)) / 1e6 == pytest.approx(77.84, abs=0.005)
    assert shared + 3 * per_expert == count_macs(Ride().network(CIFAR100), (32, 32))


def test_gates_see_top_logits_of_the_running_mean_and_the_unit_feature() -> None:
    output = random_output(experts=4, classes=9)
    gate = RoutingGate(experts=4, dim=5, top=3)
    found = gate(output)
    assert found.shape == (7, 3)
    for b in range(7):
        for i, layer in enumerate(gate.hidden):
            top = sum(output.logits[b, e] for e in range(i + 1)).div(i + 1).sort(descending=True).values[:3]  # type: ignore[union-attr]
            hidden = layer(output.features[b, i] / output.features[b, i].norm()).relu()
            torch.testing.assert_close(found[b, i : i + 1], gate.shared(torch.cat([top, hidden])))
    blank = gate(ExpertOutput(output.logits, torch.zeros_like(output.features)))
    assert blank.isfinite().all()


def test_few_classes_leave_fewer_top_logits() -> None:
    network = Ride().network(replace(CIFAR100, counts=(5, 4, 3)))
    assert network.gate.top == 3
    assert Ride(topk=2).network(replace(CIFAR100, counts=(5, 4, 3))).gate.top == 2


# running sums of three experts over two classes, label 0: which ensembles are right, what the gates shall say
CASES = {
    "right from the start": ([[2, 0], [0, 1], [0, 0]], [False, False]),
    "right, then wrong, then right": ([[2, 0], [0, 3], [2, 0]], [False, True]),
    "the second puts it right": ([[0, 1], [2, 0], [0, 0]], [True, False]),
    "only the third puts it right": ([[0, 1], [0, 1], [3, 0]], [True, True]),
    "the second helps, the third spoils": ([[0, 1], [2, 0], [0, 2]], [True, False]),
    "nothing helps": ([[0, 1], [0, 1], [1, 0]], [False, False]),
    "right, then lost": ([[1, 0], [0, 2], [0, 0]], [False, False]),
}


@pytest.mark.parametrize("name", CASES)
def test_gate_targets(name: str) -> None:
    logits, expected = CASES[name]
    found = gate_targets(torch.tensor([logits]).float(), torch.zeros(1, dtype=torch.int64))
    assert found.tolist() == [expected]


def test_gating_weights_positives_and_averages_over_gates_and_batch() -> None:
    logits = torch.tensor([case[0] for case in CASES.values()]).double()
    target = torch.zeros(len(CASES), dtype=torch.int64)
    gates = torch.randn(len(CASES), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = torch.tensor([case[1] for case in CASES.values()])
    expected = sum(
        -100 * torch.sigmoid(g).log() if y else -(1 - torch.sigmoid(g)).log()
        for g, y in zip(gates.flatten(), wanted.flatten(), strict=True)
    ) / (2 * len(CASES))
    torch.testing.assert_close(gating(gates, logits, target), expected)
    torch.testing.assert_close(gating(gates.float(), logits, target, 20.0), gating(gates, logits, target, 20.0).float())
    for wrong, weight in ((gates[:, :1], 1.0), (gates, 0.0)):
        with pytest.raises(ValueError, match="must be"):
            gating(wrong, logits, target, weight)
    with pytest.raises(ValueError, match="gate logits"):
        gating(gates[:, :0], logits[:, :1], target)


@pytest.mark.parametrize("name", ["quick", "published", "published-x0.1"])
def test_the_gate_stage_is_the_released_one_under_every_recipe(name: str) -> None:
    for method in (Ride(), RideDistilled()):
        stage = method.stages(recipes.get(name, "cifar10"))[-1]
        settings = stage.optimiser
        assert (settings.lr, settings.momentum, settings.nesterov, settings.weight_decay) == (0.01, 0.9, True, 5e-4)
        assert (stage.name, stage.epochs, stage.batch_size, stage.samplers) == ("gate", 5, 512, (class_balanced,))
        factors = [stage.schedule.factor(epoch) for epoch in range(5)]
        assert factors == pytest.approx([1, 0.9045085, 0.6545085, 0.3454915, 0.0954915])


def stages_kept(method: Method, folder: Path) -> tuple[dict[str, dict[str, Tensor]], nn.Module]:
    """The whole training network's tensors as each stage left them, and the trained network."""
    kept = {}

    def keep(stage: str, epoch: int, epochs: int, loss: float) -> None:
        tensors, _ = load_tensors(folder / "resume")
        kept[stage] = {
            name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")
        }

    trained = tiny.run(method, folder / "resume", progress=keep).network
    return kept, trained


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_training_gates_leaves_experts_and_their_batchnorm_as_they_were(tmp_path: Path) -> None:
    kept, trained = stages_kept(Ride(), tmp_path)
    learnt = changed(kept["experts"], trained.state_dict())
    assert learnt
    assert all(name.startswith("gate.") for name in learnt)
    assert not trained.training


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_the_teacher_is_frozen_and_dropped(mode: str, tmp_path: Path) -> None:
    method = papers.get(f"ride_distilled:teacher_bn={mode},teacher_experts=4,experts=2")
    kept, trained = stages_kept(method, tmp_path)
    initial = build_network(method, NetworkSpec("resnet8", tiny.COUNTS, (8, 8)), 1, training=True).state_dict()
    assert all(name.startswith("teacher.") for name in changed(initial, kept["teacher"]))
    learnt = changed(kept["teacher"], kept["experts"])
    drifted = {name for name in learnt if name.startswith("teacher.")}
    assert all(name.startswith("student.experts.") for name in learnt - drifted)
    assert bool(drifted) == (mode == "batch")  # as released: running statistics drift, weights do not
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in drifted)
    assert all(name.startswith("student.gate.") for name in changed(kept["experts"], kept["gate"]))
    student = {f"student.{name}": value for name, value in trained.state_dict().items()}
    assert {*student} == {name for name in initial if name.startswith("student.")}
    assert not changed(student, kept["gate"])


def test_the_student_starts_as_a_network_without_teacher_does_and_is_counted_without_it() -> None:
    torch.manual_seed(0)
    alone = RideDistilled().network(CIFAR100)
    torch.manual_seed(0)
    pair = RideDistilled().training_network(CIFAR100)
    kept = RideDistilled().trained_network(pair)
    assert all(torch.equal(kept.state_dict()[name], value) for name, value in alone.state_dict().items())
    assert count_parameters(kept) == PARAMETERS[3] + 1615
    assert count_parameters(pair.teacher) == PARAMETERS[6]


class Says(nn.Module):
    """A network with one answer, whatever it is shown."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> ExpertOutput:
        return ExpertOutput(self.logits, self.logits)


STUDENT = torch.tensor([[[6, 1, -2, 0.5], [5, 2, -1, 1]], [[3, 2, 4, -1], [1, 2.5, 6, 0]]])
TEACHER = torch.tensor([[5.5, 1.2, -1.5, 0.8], [1.5, 2.2, 5.5, -0.5]])


def test_the_students_loss_is_the_released_one() -> None:
    pair = Pair(GatedExperts(Says(STUDENT), RoutingGate(2, 4, 4)), Says(TEACHER[:, None]))  # type: ignore[arg-type]
    counts = torch.tensor([100.0, 40, 10, 5])
    batch = Batch(torch.zeros(2, 3, 8, 8), torch.tensor([0, 2]), counts)
    terms = RideDistilled(experts=2).student_step(pair, [batch], 160, 160)
    assert terms["loss"].item() == pytest.approx(40.017708, abs=2e-5)
    assert terms["distillation"].item() == pytest.approx(0.0230575, abs=1e-6)
    terms["loss"].backward()
    assert pair.student.experts.logits.grad is not None
    assert pair.teacher.logits.grad is None
    plain = RideDistilled(experts=2, summed=False, alpha=2.0, temperature=1.0).student_step(pair, [batch], 0, 160)
    expected = ride(STUDENT, batch.target, counts, reweighted=False) + 2 * distillation(STUDENT.mean(1), TEACHER, 1.0)
    torch.testing.assert_close(plain["loss"], expected)


def test_stages_of_the_distilled_method() -> None:
    teacher, student, gate = RideDistilled().stages(recipes.PUBLISHED)
    assert [stage.name for stage in (teacher, student, gate)] == ["teacher", "experts", "gate"]
    assert [stage.schedule.factor(3) for stage in (teacher, student)] == pytest.approx([4 / 5, 4 / 20])
    assert [stage.schedule.factor(170) for stage in (teacher, student)] == [0.01, 0.01]
    assert student.freeze
    assert not teacher.freeze
    assert not RideDistilled(teacher_bn="batch").stages(recipes.PUBLISHED)[1].freeze


@pytest.mark.parametrize(
    ("dataset", "warmup"), [("cifar100", 20), ("imagenet_lt", 5), ("inaturalist2018", 5), ("places_lt", 0)]
)
def test_the_student_warms_up_longer_on_small_images_only(dataset: str, warmup: int) -> None:
    student = RideDistilled().stages(recipes.get("published", dataset))[1]
    assert isinstance(student.schedule, Schedule)
    assert student.schedule.warmup == warmup


CRASHES = [("teacher", 1), ("teacher", 2), ("experts", 1), ("experts", 2), ("gate", 3), ("gate", 5)]


def test_a_run_killed_in_and_between_stages_reaches_the_same_weights(tmp_path: Path) -> None:
    method = RideDistilled(experts=2, teacher_experts=2)
    undisturbed = tiny.run(method, tmp_path / "undisturbed")
    for stage, epoch in CRASHES:
        with pytest.raises(KeyboardInterrupt):
            tiny.run(method, tmp_path / "resumed", progress=tiny.crash_after(stage, epoch))
    resumed = tiny.run(method, tmp_path / "resumed")
    assert resumed.losses == undisturbed.losses
    assert len(resumed.losses) == 2 + 2 + 5
    expected = undisturbed.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.network.state_dict().items())


@pytest.mark.parametrize(
    "text",
    [
        "ride:experts=1",
        "ride:topk=0",
        "ride:pos_weight=0",
        "ride_distilled:teacher_experts=1",
        "ride_distilled:temperature=0",
        "ride_distilled:alpha=-1",
        "ride_distilled:teacher_bn=train",
    ],
)
def test_options_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        papers.get(text)
