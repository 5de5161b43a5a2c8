"""Losses: published golden values, precision, refusal of bad arguments, and parity of CPU and GPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from methods import losses
from methods.core.priors import reverse_by_rank

COUNTS = torch.tensor([100, 40, 10, 5])
TARGET = torch.tensor([0, 2])
# Two experts, expert by expert, from the golden case of RIDE; three from that of SHIKE.
RIDE = torch.tensor([[[6, 1, -2, 0.5], [3, 2, 4, -1]], [[5, 2, -1, 1], [1, 2.5, 6, 0]]], dtype=torch.float64).transpose(
    0, 1
)
TEACHER = torch.tensor([[5.5, 1.2, -1.5, 0.8], [1.5, 2.2, 5.5, -0.5]], dtype=torch.float64)
SHIKE = torch.tensor(
    [[[4, 1, -2, 3], [0, 2, 5, -1]], [[3, 2, -1, 1], [1, 3, 4, 0]], [[5, 0, 1, 2], [-1, 1, 6, 2]]],
    dtype=torch.float64,
).transpose(0, 1)

SINGLE: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda z, y, n: losses.cross_entropy(z, y),
    "balanced_softmax": losses.balanced_softmax,
    "inverse_softmax": losses.inverse_softmax,
    "logit_adjusted": lambda z, y, n: losses.logit_adjusted(z, y, n, 1.5),
    "ldam": losses.ldam,
    "ldam_drw": lambda z, y, n: losses.ldam(z, y, n, class_weight=losses.drw_weights(n)),
    "distillation": lambda z, y, n: losses.distillation(z, z.flip(0)),
}
EXPERTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "sade": losses.sade,
    "balpoe": losses.balpoe,
    "ride": lambda z, y, n: losses.ride(z, y, n, reweighted=False),
    "ride_reweighted": lambda z, y, n: losses.ride(z, y, n, reweighted=True),
    "ride_collaborative": lambda z, y, n: losses.ride(z, y, n, reweighted=True, individual=False),
    "shike": lambda z, y, n: losses.shike(z, y),
    "shike_masked": lambda z, y, n: losses.shike(z, y, teacher_target_logit="masked", detach_teacher=True),
    "prl": lambda z, y, n: losses.smooth_tchebycheff(losses.sade_experts(z, y, n)),
}
ALL = SINGLE | EXPERTS


def sample(name: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits for the loss `name`, labels and counts of 10 classes, away from ties."""
    generator = torch.Generator().manual_seed(seed)
    shape = (32, 10) if name in SINGLE else (32, 3, 10)
    logits = 5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 10, (32,), generator=generator)
    return logits.to(dtype), target, torch.tensor([500, 299, 179, 107, 64, 38, 23, 13, 8, 5])


def near(value: Tensor, expected: float | list[float]) -> bool:
    return torch.allclose(value, torch.tensor(expected, dtype=value.dtype), rtol=0, atol=1e-5)


def test_golden_margins_weights_temperature() -> None:
    counts = COUNTS.double()
    assert near(losses.ldam_margins(counts), [0.236435, 0.297302, 0.420448, 0.5])
    assert near(losses.drw_weights(counts), [0.119929, 0.298926, 1.193914, 2.387231])
    temperature = losses.classwise_temperature(counts, gamma=0.05)
    assert near(temperature, [1, 0.928251, 0.892377, 0.886398])
    assert near(temperature.mean(), 0.926756)


def test_golden_ride_before_reweighting() -> None:
    answers = torch.stack([losses.ldam(RIDE[:, e], TARGET, COUNTS) for e in range(2)])
    assert near(answers, [7.304741, 6.916838])
    assert near(losses.diversity_kl(RIDE, 1.0), [0.0877662, 0.0383900])
    assert near(losses.ride(RIDE, TARGET, COUNTS, reweighted=False), 14.164808)


def test_golden_ride_after_reweighting() -> None:
    counts = COUNTS.double()
    weight = losses.drw_weights(counts)
    answers = [losses.ldam(RIDE[:, e], TARGET, COUNTS, class_weight=weight) for e in range(2)]
    assert near(torch.stack(answers), [11.093787, 8.930235])
    temperature = losses.classwise_temperature(counts, gamma=0.05)
    assert near(losses.diversity_kl(RIDE, temperature), [0.0686845, 0.0302197])
    assert near(losses.ride(RIDE, TARGET, COUNTS, reweighted=True), 19.985797)


def test_golden_distillation_and_the_released_sum_over_experts() -> None:
    distilled = losses.distillation(RIDE.mean(1), TEACHER, temperature=1.5)
    assert near(distilled, 0.0230575)
    assert near(2 * (losses.ride(RIDE, TARGET, COUNTS, reweighted=True) + distilled), 40.017708)


def test_golden_cifar100_extremes() -> None:
    counts = torch.tensor([int(500 * 0.01 ** (c / 99)) for c in range(100)], dtype=torch.float64)
    assert torch.allclose(losses.ldam_margins(counts)[0], torch.tensor(0.1581).double(), atol=1e-4)
    weights = losses.drw_weights(counts)
    assert torch.allclose(weights[[0, -1]], torch.tensor([0.0449, 4.378]).double(), atol=1e-3)
    temperature = losses.classwise_temperature(counts, 0.05)
    assert torch.allclose(temperature[-1], torch.tensor(0.8067).double(), atol=1e-4)
    assert torch.allclose(temperature.mean(), torch.tensor(0.8471).double(), atol=1e-4)


def test_golden_shike() -> None:
    assert near(losses.expert_cross_entropy(SHIKE, TARGET).sum(), 0.643730)
    assert near(10 * losses.knowledge_transfer(SHIKE, TARGET).sum(), 15.219915)
    masked = losses.knowledge_transfer(SHIKE, TARGET, teacher_target_logit="masked")
    assert near(10 * masked.sum(), 3.784561)
    assert near(losses.mutual_kl(SHIKE).sum(), 0.481836)
    assert near(losses.shike(SHIKE, TARGET), 16.345481)
    assert near(losses.shike(SHIKE, TARGET, teacher_target_logit="masked"), 4.910126)
    assert near(losses.shike(SHIKE, TARGET, detach_teacher=True), 16.345481)


def test_golden_shike_second_stage() -> None:
    answers = [losses.balanced_softmax(SHIKE[:, e], TARGET, COUNTS) for e in range(3)]
    assert near(torch.stack(answers).sum(), 0.781251)


def test_shike_reduction_per_sample_is_classes_times_the_published_one() -> None:
    published = losses.knowledge_transfer(SHIKE, TARGET)
    per_sample = losses.knowledge_transfer(SHIKE, TARGET, reduction="batchmean")
    assert torch.allclose(per_sample, 4 * published)


def test_sade_sums_and_balpoe_averages() -> None:
    logits, target, counts = sample("sade", torch.float64)
    parts = [
        losses.cross_entropy(logits[:, 0], target),
        losses.balanced_softmax(logits[:, 1], target, counts),
        losses.inverse_softmax(logits[:, 2], target, counts, 2.0),
    ]
    assert torch.allclose(losses.sade(logits, target, counts, 2.0), torch.stack(parts).sum())
    taus = (0.0, 1.0, 2.0)
    parts = [losses.logit_adjusted(logits[:, e], target, counts, tau) for e, tau in enumerate(taus)]
    assert torch.allclose(losses.balpoe(logits, target, counts, taus), torch.stack(parts).mean())


def test_collaborative_ride_answers_for_the_mean_logits() -> None:
    loss = losses.ride(RIDE, TARGET, COUNTS, reweighted=False, individual=False, diversity=0.0)
    assert torch.allclose(loss, 2 * losses.ldam(RIDE.mean(1), TARGET, COUNTS))


@pytest.mark.parametrize("counts", [[100, 40, 10, 5], [7, 7, 3, 3, 9], [1, 2, 3]])
def test_reversal_by_rank_is_the_one_of_the_priors(counts: list[int]) -> None:
    assert losses.reverse_by_rank(torch.tensor(counts)).tolist() == reverse_by_rank(counts).tolist()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    logits, target, counts = sample(name, dtype)
    value = ALL[name](logits, target, counts)
    assert value.dtype == torch.float32
    assert value.item() == ALL[name](logits.float(), target, counts).item()


@pytest.mark.parametrize("name", ALL)
def test_double_precision_stays_and_float32_agrees(name: str) -> None:
    logits, target, counts = sample(name, torch.float64)
    double = ALL[name](logits, target, counts)
    assert double.dtype == torch.float64
    assert double.ndim == 0
    single = ALL[name](logits.float(), target, counts)
    assert torch.allclose(single.double(), double, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ALL if name != "distillation"])
def test_wrong_shapes_and_labels_are_refused(name: str) -> None:
    logits, target, counts = sample(name)
    with pytest.raises(ValueError, match="logits must"):
        ALL[name](logits[0], target, counts)
    with pytest.raises(ValueError, match="target must be"):
        ALL[name](logits, target[1:], counts)
    with pytest.raises(ValueError, match="target must be"):
        ALL[name](logits, target.int(), counts)
    with pytest.raises(ValueError, match="labels must lie"):
        ALL[name](logits, target.clone().fill_(10), counts)
    with pytest.raises(ValueError, match="labels must lie"):
        ALL[name](logits, target.clone().fill_(-100), counts)
    with pytest.raises(ValueError, match="empty"):
        ALL[name](logits[:0], target[:0], counts)


@pytest.mark.parametrize(
    "name", ["balanced_softmax", "inverse_softmax", "logit_adjusted", "ldam", "ride", "sade", "balpoe"]
)
def test_wrong_counts_are_refused(name: str) -> None:
    logits, target, counts = sample(name)
    for wrong in (counts[1:], counts[None], -counts, 0 * counts, counts.double() / 0):
        with pytest.raises(ValueError, match="counts or prior must be"):
            ALL[name](logits, target, wrong)


@pytest.mark.parametrize("name", ["ldam", "ldam_drw", "ride", "ride_reweighted"])
def test_a_class_without_images_has_no_margin(name: str) -> None:
    logits, target, counts = sample(name)
    counts[3] = 0
    with pytest.raises(ValueError, match="must be positive for every class"):
        ALL[name](logits, target, counts)


def test_wrong_options_are_refused() -> None:
    logits, target, counts = sample("sade")
    with pytest.raises(ValueError, match="3 experts, not 2"):
        losses.sade(logits[:, :2], target, counts)
    with pytest.raises(ValueError, match="as many taus, not 2"):
        losses.balpoe(logits, target, counts, (0.0, 1.0))
    with pytest.raises(ValueError, match="zero or masked"):
        losses.shike(logits, target, teacher_target_logit="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mean or batchmean"):
        losses.shike(logits, target, reduction="sum")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mu must be positive"):
        losses.smooth_tchebycheff(torch.ones(3), 0)
    with pytest.raises(ValueError, match="a vector"):
        losses.smooth_tchebycheff(torch.ones(3, 2))
    with pytest.raises(ValueError, match="student and teacher"):
        losses.distillation(logits[:, 0], logits[1:, 0])
    with pytest.raises(ValueError, match="temperature must be positive"):
        losses.diversity_kl(logits, 0.0)
    with pytest.raises(ValueError, match="gamma"):
        losses.classwise_temperature(counts, gamma=1.0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ALL)
def test_gpu_equals_cpu_without_waiting_for_the_device(name: str) -> None:
    logits, target, counts = sample(name)
    on_cpu = logits.clone().requires_grad_()
    expected = ALL[name](on_cpu, target, counts)
    expected.backward()

    on_gpu = logits.cuda().requires_grad_()
    arguments = (on_gpu, target.cuda(), counts.cuda())
    ALL[name](*arguments)
    torch.cuda.set_sync_debug_mode("error")
    try:
        value = ALL[name](*arguments)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    value.backward()
    assert torch.allclose(value.cpu(), expected, rtol=1e-4, atol=1e-4)
    assert on_gpu.grad is not None
    assert on_cpu.grad is not None
    assert torch.allclose(on_gpu.grad.cpu(), on_cpu.grad, rtol=1e-4, atol=1e-4)
