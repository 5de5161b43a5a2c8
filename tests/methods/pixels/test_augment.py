"""Augmentation: one gather against Pillow's crop, flip and rotation; its draws' distribution; pixels to floats."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy import stats
from torch import Tensor

from methods.core.stage import Augmentation
from methods.pixels.augment import Geometry, random_geometry, to_float, transform

PUBLISHED = Augmentation()


def draws(size: int, augmentation: Augmentation = PUBLISHED, seed: int = 0) -> Geometry:
    return random_geometry(size, augmentation, torch.Generator().manual_seed(seed))


def random_images(size: int, side: tuple[int, int] = (32, 32), channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (size, channels, *side), generator=generator, dtype=torch.uint8)


def one_by_one(images: Tensor, geometry: Geometry, padding: int) -> Tensor:
    """Pillow, image by image: pad with black, crop, flip, rotate (nearest neighbour, black fill)."""
    height, width = images.shape[2:]
    done = []
    for image, dy, dx, flip, angle in zip(images, *(part.tolist() for part in geometry), strict=True):
        picture = ImageOps.expand(Image.fromarray(image.permute(1, 2, 0).numpy()), padding, 0)
        picture = picture.crop((dx, dy, dx + width, dy + height))
        if flip:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        picture = picture.rotate(angle, Image.Resampling.NEAREST, fillcolor=(0, 0, 0))
        done.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    return torch.stack(done)


@pytest.mark.parametrize("side", [(32, 32), (28, 28), (24, 40)], ids=str)
def test_transform_is_pillows_crop_flip_and_rotation(side: tuple[int, int]) -> None:
    images, geometry = random_images(400, side), draws(400)
    equal = (transform(images, geometry, 4) == one_by_one(images, geometry, 4)).all(1)
    assert float(equal.float().mean()) >= 0.999
    assert float(equal.float().mean((1, 2)).min()) >= 0.98


@pytest.mark.parametrize("padding", [4, 2, 0])
@pytest.mark.parametrize("side", [(32, 32), (24, 40)], ids=str)
def test_without_rotation_every_pixel_is_pillows(side: tuple[int, int], padding: int) -> None:
    images, geometry = random_images(200, side), draws(200, Augmentation(padding, True, 0.0))
    assert torch.equal(transform(images, geometry, padding), one_by_one(images, geometry, padding))


def same(size: int, dy: int = 4, dx: int = 4, flip: bool = False, angle: float = 0.0) -> Geometry:
    """One geometry for all images; the default is the identity at padding 4."""
    return Geometry(
        torch.full((size,), dy), torch.full((size,), dx), torch.full((size,), flip), torch.full((size,), angle)
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [(32, 32), (7, 9)], ids=str)
def test_identity_geometry_is_the_identity(side: tuple[int, int], channels: int) -> None:
    images = random_images(5, side, channels)
    assert torch.equal(transform(images, same(5), 4), images)
    assert torch.equal(transform(images, same(5, 0, 0), 0), images)


def test_single_steps() -> None:
    images = random_images(3, (8, 8))
    assert torch.equal(transform(images, same(3, flip=True), 4), images.flip(3))
    assert torch.equal(transform(images, same(3, dy=6), 4)[:, :, :-2], images[:, :, 2:])
    assert torch.equal(transform(images, same(3, dx=3), 4)[..., 1:], images[..., :-1])
    assert torch.equal(transform(images, same(3, angle=90.0), 4), images.rot90(1, (2, 3)))


def test_outside_is_black_before_normalisation() -> None:
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    moved = transform(white, same(1, dy=0, dx=8), 4)
    assert torch.equal(moved[0, :, 4:, :4], white[0, :, 4:, :4])
    assert not moved[0, :, :4].any()
    assert not moved[0, :, :, 4:].any()
    mean, std = torch.tensor([0.5, 0.25, 0.75]), torch.tensor([0.25, 0.5, 0.2])
    torch.testing.assert_close(to_float(moved, mean, std)[0, :, 0, 0], -mean / std)
    turned = transform(white, same(1, angle=15.0), 4)
    assert not turned[0, :, 0, 0].any()
    assert bool((turned[0, :, 4, 4] == 255).all())


@pytest.mark.parametrize("cut", [1, 37, 63])
def test_how_a_batch_is_split_changes_nothing(cut: int) -> None:
    images, geometry = random_images(64), draws(64)
    parts = [
        transform(images[rows], Geometry(*(part[rows] for part in geometry)), 4)
        for rows in (slice(0, cut), slice(cut, 64))
    ]
    assert torch.equal(torch.cat(parts), transform(images, geometry, 4))


def within(count: int, size: int, share: float) -> bool:
    """Whether a binomial count is within five standard deviations of its mean."""
    return abs(count - size * share) < 5 * (size * share * (1 - share)) ** 0.5


def test_draws_are_uniform_and_independent() -> None:
    size = 60_000
    geometry = draws(size)
    pairs = torch.bincount(geometry.dy * 9 + geometry.dx, minlength=81)
    assert len(pairs) == 81
    assert all(within(int(count), size, 1 / 81) for count in pairs)
    assert within(int(geometry.flip.sum()), size, 0.5)
    assert within(int((geometry.flip & (geometry.angle > 0)).sum()), size, 0.25)
    assert within(int((geometry.flip & (geometry.dx < 3)).sum()), size, 1 / 6)
    assert within(int(((geometry.angle > 0) & (geometry.dy < 3)).sum()), size, 1 / 6)
    assert stats.kstest(geometry.angle.double().numpy(), stats.uniform(-15, 30).cdf).pvalue > 1e-3
    assert geometry.angle.min() >= -15
    assert geometry.angle.max() <= 15


def test_draws_follow_the_augmentation_and_the_seed() -> None:
    plain = draws(1000, Augmentation(0, False, 0.0))
    assert not any(bool(part.any()) for part in plain)
    assert int(draws(1000, Augmentation(2, True, 5.0)).dy.max()) == 4
    assert float(draws(1000, Augmentation(2, True, 5.0)).angle.abs().max()) <= 5
    one, again, other = draws(100), draws(100), draws(100, seed=1)
    assert all(torch.equal(*parts) for parts in zip(one, again, strict=True))
    assert not any(torch.equal(*parts) for parts in zip(one, other, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_to_float_is_the_plain_formula_with_grey_repeated(channels: int) -> None:
    images = random_images(4, (6, 5), channels)
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])
    found = to_float(images, mean, std)
    colours = np.repeat(images.numpy(), 3 // channels, axis=1).astype(np.float64)
    expected = (colours / 255 - mean.double().numpy()[:, None, None]) / std.double().numpy()[:, None, None]
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_the_given_images_are_left_as_they_are() -> None:
    images = random_images(8)
    before = images.clone()
    to_float(transform(images, draws(8), 4), torch.zeros(3), torch.ones(3))
    to_float(images, torch.zeros(3), torch.ones(3))
    assert torch.equal(images, before)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_gives_the_same_pixels_without_waiting() -> None:
    images, geometry = random_images(256), draws(256)
    mean, std = torch.full((3,), 0.5), torch.full((3,), 0.25)
    expected = transform(images, geometry, 4)
    on_gpu, moved = images.cuda(), Geometry(*(part.cuda() for part in geometry))
    mean_there, std_there = mean.cuda(), std.cuda()
    generator = torch.Generator("cuda").manual_seed(0)
    to_float(transform(on_gpu, moved, 4), mean_there, std_there)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = transform(on_gpu, moved, 4)
        values = to_float(found, mean_there, std_there)
        drawn = random_geometry(10_000, PUBLISHED, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    equal = (found.cpu() == expected).all(1)
    assert float(equal.float().mean()) >= 0.999
    torch.testing.assert_close(values.cpu(), to_float(found.cpu(), mean, std))
    assert [part.device.type for part in drawn] == ["cuda"] * 4
    assert within(int(drawn.flip.sum()), 10_000, 0.5)
