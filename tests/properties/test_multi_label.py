"""Invariants of the losses for label sets, each where it is true, and their values by plain arithmetic."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from methods import losses
from methods.losses import Compensation
from tests.profiles import few

Loss = Callable[[Tensor, Tensor, Tensor, int], Tensor]
seeds = st.integers(0, 2**31 - 1)

EVERY: dict[str, Loss] = {
    "binary_cross_entropy": lambda z, y, n, images: losses.binary_cross_entropy(z, y),
    "weighted_binary_cross_entropy": losses.weighted_binary_cross_entropy,
    "compensated": lambda z, y, n, images: losses.weighted_binary_cross_entropy(z, y, n, images, linear(n / images)),
    "focal": lambda z, y, n, images: losses.focal(z, y),
    "class_balanced_focal": lambda z, y, n, images: losses.class_balanced_focal(z, y, n),
    "distribution_balanced": losses.distribution_balanced,
    "distribution_balanced, coco": lambda z, y, n, images: losses.distribution_balanced(
        z, y, n, images, mu=0.2, kappa=2.0
    ),
}


def linear(share: Tensor) -> Compensation:
    """Some compensation that differs between classes."""
    return Compensation(1 + share, -share, 2 - share, 0.5 * share)


def sample(seed: int, classes: int = 5, scale: float = 3.0) -> tuple[Tensor, Tensor, Tensor, int]:
    """Logits [6, C] in float64, label sets of one label at least [6, C], distinct counts [C] and a number of images."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(6, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (6, classes), generator=generator).double()
    labels[torch.arange(6), torch.randint(0, classes, (6,), generator=generator)] = 1
    counts = torch.randperm(200, generator=generator)[:classes] + 1
    return logits, labels, counts.double(), int(counts.max()) + int(torch.randint(0, 100, (), generator=generator))


def value_and_gradient(loss: Loss, logits: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    free = logits.clone().requires_grad_()
    value = loss(free, *rest)  # type: ignore[arg-type]
    return value.detach(), torch.autograd.grad(value, free)[0]


@pytest.mark.parametrize("name", EVERY)
@given(seed=seeds)
def test_permuting_classes_changes_nothing_and_permutes_gradients(name: str, seed: int) -> None:
    logits, labels, counts, images = sample(seed)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    value, gradient = value_and_gradient(EVERY[name], logits, labels, counts, images)
    permuted = value_and_gradient(EVERY[name], logits[:, order], labels[:, order], counts[order], images)
    torch.testing.assert_close(permuted[0], value)
    torch.testing.assert_close(permuted[1], gradient[:, order])


@pytest.mark.parametrize("name", EVERY)
@given(seed=seeds)
def test_a_batch_is_the_mean_of_its_images(name: str, seed: int) -> None:
    logits, labels, counts, images = sample(seed)
    each = [EVERY[name](logits[i : i + 1], labels[i : i + 1], counts, images) for i in range(6)]
    torch.testing.assert_close(EVERY[name](logits, labels, counts, images), torch.stack(each).mean())


@pytest.mark.parametrize("name", EVERY)
@few
@given(seed=seeds)
def test_gradients_against_finite_differences(name: str, seed: int) -> None:
    logits, labels, counts, images = sample(seed, scale=1.0)
    assert torch.autograd.gradcheck(lambda free: EVERY[name](free, labels, counts, images), logits.requires_grad_())


@pytest.mark.parametrize("name", [name for name in EVERY if name != "compensated"])
@given(seed=seeds, step=st.floats(0.1, 5))
def test_logits_that_are_more_right_cost_less(name: str, seed: int, step: float) -> None:
    logits, labels, counts, images = sample(seed)
    better = logits + step * (2 * labels - 1)
    assert EVERY[name](better, labels, counts, images) < EVERY[name](logits, labels, counts, images)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("labels", [torch.zeros(2, 3), torch.ones(2, 3)])
def test_huge_logits_and_images_with_no_label_or_all_stay_finite(name: str, labels: Tensor) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 88.0]])
    value, gradient = value_and_gradient(EVERY[name], logits, labels, torch.tensor([10, 4, 1]), 10)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


# LTML


@given(counts=st.lists(st.integers(1, 1000), min_size=2, max_size=20), more=st.integers(0, 500))
def test_weights_are_positive_and_follow_the_frequency(counts: list[int], more: int) -> None:
    ordered, images = torch.tensor(sorted(set(counts))), max(counts) + more
    present, absent = (
        losses.frequency_weights(labels, ordered, images)[0]
        for labels in (torch.ones(1, len(ordered)).double(), torch.zeros(1, len(ordered)).double())
    )
    assert (present > 0).all()
    assert (absent > 0).all()
    assert (present.diff() < 0).all()
    assert (absent.diff() > 0).all()
    torch.testing.assert_close(present * absent, torch.full_like(present, math.e))


@pytest.mark.parametrize(
    ("count", "images", "present", "absent"),
    [(775, 1142, 1.379, 1.971), (4, 1142, 2.709, 1.004), (1128, 1909, 1.506, 1.806)],
    ids=["VOC person", "VOC cow", "COCO person"],
)
def test_golden_weights(count: int, images: int, present: float, absent: float) -> None:
    labels = torch.tensor([[1.0], [0.0]])
    found = losses.frequency_weights(labels, torch.tensor([count]), images)[:, 0]
    torch.testing.assert_close(found, torch.tensor([present, absent]), rtol=0, atol=6e-4)


@given(seed=seeds)
def test_compensation_at_mean_zero_and_scale_one_is_the_plain_loss(seed: int) -> None:
    logits, labels, counts, images = sample(seed)
    one, zero = torch.ones(5).double(), torch.zeros(5).double()
    plain = value_and_gradient(losses.weighted_binary_cross_entropy, logits, labels, counts, images)
    neutral = Compensation(one, zero, one, zero)
    compensated = value_and_gradient(losses.weighted_binary_cross_entropy, logits, labels, counts, images, neutral)
    torch.testing.assert_close(compensated, plain)


@given(seed=seeds)
def test_weighted_loss_by_plain_arithmetic(seed: int) -> None:
    logits, labels, counts, images = sample(seed)
    maps = linear(counts / images)
    total = 0.0
    for i in range(6):
        for k in range(5):
            z, share = float(logits[i, k]), float(counts[k]) / images
            if labels[i, k]:
                moved = z * float(maps.positive_scale[k]) + float(maps.positive_shift[k])
                total -= math.exp(1 - share) * -math.log1p(math.exp(-moved))
            else:
                moved = z * float(maps.negative_scale[k]) + float(maps.negative_shift[k])
                total -= math.exp(share) * -math.log1p(math.exp(moved))
    found = losses.weighted_binary_cross_entropy(logits, labels, counts, images, maps)
    assert float(found) == pytest.approx(total / 30)


@given(seed=seeds)
def test_consistency_is_symmetric_zero_at_equality_and_a_mean_square(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    apart = losses.logit_consistency(one, other)
    assert apart > 0
    assert apart == losses.logit_consistency(other, one)
    assert losses.logit_consistency(one, one) == 0
    assert float(apart) == pytest.approx(
        sum((a - b) ** 2 for a, b in zip(one.flatten(), other.flatten(), strict=True)) / 20
    )
    free = (one.clone().requires_grad_(), other.clone().requires_grad_())
    toward, away = torch.autograd.grad(losses.logit_consistency(*free), free)
    torch.testing.assert_close(toward, -away)
    torch.testing.assert_close(toward, 2 * (one - other) / 20)


# Focal forms


def test_focal_of_gamma_zero_is_twice_binary_cross_entropy() -> None:
    logits, labels, *_ = sample(0)
    torch.testing.assert_close(losses.focal(logits, labels, 0.0), 2 * losses.binary_cross_entropy(logits, labels))


@given(seed=seeds)
def test_class_balanced_focal_by_plain_arithmetic(seed: int) -> None:
    logits, labels, counts, _ = sample(seed)
    total = 0.0
    for i in range(6):
        own = [0.1 / (1 - 0.9 ** float(counts[k])) for k in range(5) if labels[i, k]]
        total += sum(own) / len(own) * sum(_focal(float(logits[i, k]), bool(labels[i, k])) for k in range(5))
    assert float(losses.class_balanced_focal(logits, labels, counts)) == pytest.approx(total / 30)


@pytest.mark.parametrize(("mu", "kappa"), [(0.3, 5.0), (0.2, 2.0)])
@given(seed=seeds)
def test_distribution_balanced_by_plain_arithmetic(mu: float, kappa: float, seed: int) -> None:
    logits, labels, counts, images = sample(seed)
    images += 1  # the shift of a label that all images have is infinite
    total = 0.0
    for i in range(6):
        repeated = sum(1 / float(counts[j]) for j in range(5) if labels[i, j])
        for k in range(5):
            rate = 1 / float(counts[k]) / repeated
            weight = 0.1 + 1 / (1 + math.exp(-10 * (rate - mu)))
            moved = float(logits[i, k]) - math.log(images / float(counts[k]) - 1) * 0.05 / kappa
            if labels[i, k]:
                total += weight * _focal(moved, True)
            else:
                total += weight / kappa * _focal(kappa * moved, False)
    found = losses.distribution_balanced(logits, labels, counts, images, mu=mu, kappa=kappa)
    assert float(found) == pytest.approx(total / 30)


def _focal(logit: float, present: bool) -> float:
    """2 (1 - p_t)^2 * BCE of one logit."""
    right = 1 / (1 + math.exp(-logit if present else logit))
    return -2 * (1 - right) ** 2 * math.log(right)


def test_distribution_balanced_weighs_by_what_sampling_repeats() -> None:
    """With alpha 1 and beta 0 the weights are all 1.5; without shift and scale the focal loss is left."""
    logits, labels, counts, images = sample(0)
    found = losses.distribution_balanced(logits, labels, counts, images, alpha=1.0, beta=0.0, bias=0.0, kappa=1.0)
    torch.testing.assert_close(found, 1.5 * losses.focal(logits, labels))


# Arguments


@pytest.mark.parametrize("name", EVERY)
def test_half_precision_is_computed_in_full(name: str) -> None:
    logits, labels, counts, images = sample(0)
    half, counts = logits.bfloat16(), counts.float()
    value = EVERY[name](half, labels.float(), counts, images)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, EVERY[name](half.float(), labels.float(), counts, images))


@pytest.mark.parametrize("name", EVERY)
def test_bad_arguments_are_refused(name: str) -> None:
    logits, labels, counts, images = sample(0)
    for bad in (labels.long(), labels[:, :4], labels[:, 0], labels + 1, labels - 2):
        with pytest.raises(ValueError, match="label sets must"):
            EVERY[name](logits, bad, counts, images)
    with pytest.raises(ValueError, match="logits must be"):
        EVERY[name](logits[0], labels[0], counts, images)


@pytest.mark.parametrize("name", ["weighted_binary_cross_entropy", "distribution_balanced"])
def test_counts_beyond_the_number_of_images_are_refused(name: str) -> None:
    logits, labels, counts, _ = sample(0)
    with pytest.raises(ValueError, match=r"label counts must lie in 1\.\."):
        EVERY[name](logits, labels, counts, int(counts.max()) - 1)
    with pytest.raises(ValueError, match="positive for every class"):
        EVERY[name](logits, labels, counts * (torch.arange(5) > 0), 500)
