"""Views: each colour step against Pillow or its plain formula, the draws' distribution, whole views step by step."""

import colorsys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy import stats
from scipy.ndimage import gaussian_filter
from torch import Tensor

from methods.pixels import views
from methods.pixels.augment import Geometry, transform
from methods.pixels.views import ViewDraw, brightness, contrast, gaussian_blur, luma, saturation, shift_hue
from methods.training.loop import derived_seed

ENHANCE: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Image.Image], ImageEnhance._Enhance]]] = {
    "brightness": (brightness, ImageEnhance.Brightness),
    "contrast": (contrast, ImageEnhance.Contrast),
    "saturation": (saturation, ImageEnhance.Color),
}


def random_images(size: int, side: int = 12, channels: int = 3) -> Tensor:
    """Smooth and rough pixels, some grey, some black and white."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (size, channels, side, side), generator=generator, dtype=torch.uint8)
    images[0] = images[0, :1]
    images[1] = images[1] // 128 * 255
    return images


def draw(size: int, seed: int = 0) -> ViewDraw:
    return ViewDraw(size, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factor", [0.6, 0.83, 1.0, 1.21, 1.4])
@pytest.mark.parametrize("name", ENHANCE)
def test_colour_steps_are_pillows_up_to_its_rounding(name: str, factor: float) -> None:
    step, enhancer = ENHANCE[name]
    images = random_images(12)
    found = step(images.float() / 255, torch.full((12,), factor))
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    for image, ours in zip(images, found, strict=True):
        picture = enhancer(Image.fromarray(image.permute(1, 2, 0).numpy())).enhance(factor)
        expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        # Pillow cuts to whole numbers, and takes grey values and their mean as whole numbers.
        assert float((255 * ours - expected).abs().max()) <= 1.5


@pytest.mark.parametrize("name", ENHANCE)
def test_each_image_has_a_factor_of_its_own_and_one_changes_nothing(name: str) -> None:
    step, _ = ENHANCE[name]
    images, factors = random_images(4).float() / 255, torch.tensor([0.6, 1.0, 1.3, 1.4])
    together = step(images, factors)
    for index in range(4):
        torch.testing.assert_close(step(images[[index]], factors[[index]])[0], together[index])
    torch.testing.assert_close(together[1], images[1])


def test_luma_is_pillows_grey() -> None:
    images = random_images(6)
    for image, ours in zip(images, luma(images.float() / 255), strict=True):
        grey = np.array(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L"))
        assert float(np.abs(255 * ours[0].numpy() - grey).max()) <= 0.51


def turned(image: Tensor, turns: float) -> Tensor:
    """The hue turned pixel by pixel with the standard library; image [3, H, W] in 0..1."""
    out = np.empty(image.shape)
    for row, column in np.ndindex(*image.shape[1:]):
        hue, satur, value = colorsys.rgb_to_hsv(*image[:, row, column].double().tolist())
        out[:, row, column] = colorsys.hsv_to_rgb((hue + turns) % 1.0, satur, value)
    return torch.from_numpy(out).float()


@given(turns=st.floats(-1, 1))
def test_hue_is_turned_as_by_the_standard_library(turns: float) -> None:
    images = random_images(3, side=6).float() / 255
    found = shift_hue(images, torch.full((3,), turns))
    for image, ours in zip(images, found, strict=True):
        torch.testing.assert_close(ours, turned(image, turns), rtol=0, atol=2e-5)


@pytest.mark.parametrize("turns", [0.0, 1.0, -1.0])
def test_no_turn_and_a_whole_turn_change_nothing(turns: float) -> None:
    images = random_images(8).float() / 255
    torch.testing.assert_close(shift_hue(images, torch.full((8,), turns)), images, rtol=0, atol=1e-5)


def test_grey_has_no_hue_and_a_third_of_a_turn_moves_the_channels() -> None:
    grey = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    torch.testing.assert_close(shift_hue(grey, torch.tensor([0.1, -0.1])), grey)
    images = random_images(4)[2:].float() / 255
    torch.testing.assert_close(shift_hue(images, torch.full((2,), 1 / 3)), images.roll(1, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_blur_is_scipys_gaussian_filter_inside_and_at_the_edges(sigma: float) -> None:
    images = random_images(4, side=20).float() / 255
    found = gaussian_blur(images, torch.full((4,), sigma))
    expected = gaussian_filter(images.double().numpy(), sigma, axes=(2, 3), mode="nearest", truncate=9)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    if sigma == 0.1:
        torch.testing.assert_close(found, images)


def test_each_image_is_blurred_with_its_own_sigma() -> None:
    images, sigma = random_images(5).float() / 255, torch.tensor([0.1, 0.7, 1.1, 1.6, 2.0])
    together = gaussian_blur(images, sigma)
    for index in range(5):
        torch.testing.assert_close(gaussian_blur(images[[index]], sigma[[index]])[0], together[index])


def test_blur_of_an_image_that_is_not_square() -> None:
    images = torch.rand(1, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    expected = gaussian_filter(images.double().numpy(), 1.3, axes=(2, 3), mode="nearest", truncate=7)
    np.testing.assert_allclose(gaussian_blur(images, torch.tensor([1.3])).numpy(), expected, atol=1e-4)


def within(mask: Tensor, share: float) -> bool:
    """Whether a share of draws is within five standard deviations of its probability."""
    return abs(float(mask.double().mean()) - share) < 5 * (share * (1 - share) / len(mask)) ** 0.5


def test_draws_have_the_published_probabilities_and_ranges() -> None:
    many = draw(40_000)
    for mask, share in ((many.jitter, 0.8), (many.grey, 0.2), (many.blur, 0.2), (many.geometry.flip, 0.5)):
        assert within(mask, share)
    assert within(many.jitter & many.grey, 0.16)
    assert within(many.grey & many.blur, 0.04)
    for values, low, high in (
        (many.strength[0], 0.6, 1.4),
        (many.strength[1], 0.6, 1.4),
        (many.strength[2], 0.6, 1.4),
        (many.hue, -0.1, 0.1),
        (many.sigma, 0.1, 2.0),
    ):
        assert stats.kstest(values.double().numpy(), stats.uniform(low, high - low).cdf).pvalue > 1e-3
    assert not many.geometry.angle.any()
    assert sorted(many.geometry.dx.unique().tolist()) == list(range(9))


def test_every_order_of_the_four_colour_steps_is_as_likely() -> None:
    order = draw(48_000).order
    assert torch.equal(order.sort(0).values, torch.arange(4)[:, None].expand(-1, 48_000))
    code = (order * torch.tensor([64, 16, 4, 1])[:, None]).sum(0)
    kinds = code.unique()
    assert len(kinds) == 24
    assert all(within(code == kind, 1 / 24) for kind in kinds)


def test_jitter_strengths_are_independent_of_what_is_switched_on() -> None:
    many = draw(40_000)
    assert within(many.strength[0][many.jitter] > 1, 0.5)
    assert within(many.strength[0][many.strength[1] > 1] > 1, 0.5)
    assert within(many.sigma[many.blur] > 1.05, 0.5)
    assert within(many.hue[many.grey] > 0, 0.5)


def step_by_step(image: Tensor, index: int, view: ViewDraw) -> Tensor:
    """One image's view, written out: crop and flip, colours in their order, grey, blur; [3, H, W] in 0..1."""
    geometry = Geometry(*(part[[index]] for part in view.geometry))
    moved = transform(image[None], geometry, 4)[0].numpy().astype(np.float64) / 255
    values = np.broadcast_to(moved, (3, *moved.shape[1:])).copy()
    weights = np.array([0.299, 0.587, 0.114])

    def grey() -> np.ndarray:
        return np.tensordot(weights, values, 1)

    for kind in view.order[:, index].tolist() if view.jitter[index] else []:
        if kind == 3:
            values = turned(torch.from_numpy(values), float(view.hue[index])).double().numpy()
            continue
        factor = float(view.strength[kind, index])
        centre = (0.0, grey().mean(), grey())[kind]
        values = np.clip(centre + (values - centre) * factor, 0, 1)
    if view.grey[index]:
        values = np.broadcast_to(grey(), values.shape)
    if view.blur[index]:
        values = gaussian_filter(values, float(view.sigma[index]), axes=(1, 2), mode="nearest", truncate=9)
    return torch.from_numpy(np.array(values)).float()


@pytest.mark.parametrize("channels", [1, 3])
def test_whole_views_equal_the_steps_written_out(channels: int) -> None:
    images, view = random_images(60, channels=channels), draw(60)
    found = view.apply(images, slice(None))
    assert found.shape == (60, 3, 12, 12)
    for index, image in enumerate(images):
        torch.testing.assert_close(found[index], step_by_step(image, index, view), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [1, 7, 32])
def test_how_the_pool_is_split_changes_nothing(size: int) -> None:
    images, view = random_images(40), draw(40)
    parts = [view.apply(images[start : start + size], slice(start, start + size)) for start in range(0, 40, size)]
    torch.testing.assert_close(torch.cat(parts), view.apply(images, slice(None)), rtol=0, atol=1e-6)


def test_values_stay_between_black_and_white() -> None:
    images, view = random_images(500), draw(500)
    found = view.apply(images, slice(None))
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1 + 1e-6
    assert bool(torch.isfinite(found).all())


def test_a_view_is_reproduced_by_its_seed_and_the_views_of_a_pair_differ() -> None:
    images = random_images(30)

    def view(pair: int, number: int) -> Tensor:
        seed = derived_seed("view", views.VIEWS_VERSION, pair, number)
        return ViewDraw(30, torch.Generator().manual_seed(seed)).apply(images, slice(None))

    first = view(0, 0)
    assert torch.equal(first, view(0, 0))
    for other in (view(0, 1), view(1, 0), view(1, 1)):
        assert int(((first - other).abs().amax((1, 2, 3)) > 1e-3).sum()) >= 29


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_views_on_the_gpu_equal_those_on_the_cpu_for_the_same_draw() -> None:
    images, view = random_images(200), draw(200)
    expected = view.apply(images, slice(None))
    there = ViewDraw(200, torch.Generator("cuda").manual_seed(0))
    assert there.jitter.device.type == "cuda"
    assert within(there.jitter, 0.8)
    for name in ("jitter", "grey", "blur", "strength", "hue", "sigma", "order"):
        setattr(there, name, getattr(view, name).cuda())
    there.geometry = Geometry(*(part.cuda() for part in view.geometry))
    torch.testing.assert_close(there.apply(images.cuda(), slice(None)).cpu(), expected, rtol=0, atol=1e-3)
