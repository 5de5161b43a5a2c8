"""AutoAugment against Pillow, operation by operation; cut-out; and what existing augmentations draw."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from methods.core.stage import Augmentation
from methods.pixels import autoaugment as policy
from methods.pixels.augment import augment, cut_out, random_geometry, transform

SIZES = [(32, 32), (28, 20)]


def random_images(seed: int, height: int, width: int, channels: int = 3) -> Tensor:
    """20 images: noise, smooth ramps, few values, one value, narrow range."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (12, channels, height, width), generator=generator)
    ramp = torch.arange(height)[:, None] * 3 + torch.arange(width) * 2 + torch.arange(channels)[:, None, None] * 20
    ramp = ramp.expand(3, channels, height, width)
    few = torch.randint(0, 3, (2, channels, height, width), generator=generator) * 90
    flat = torch.full((1, channels, height, width), 77)
    narrow = torch.randint(100, 130, (2, channels, height, width), generator=generator)
    return torch.cat([noise, ramp, few, flat, narrow]).to(torch.uint8)


def affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=(policy.FILL,) * 3
    )


def by_pillow(image: Image.Image, name: str, strength: float) -> Image.Image:
    width, height = image.size
    match name:
        case "invert":
            return ImageOps.invert(image)
        case "posterize":
            return ImageOps.posterize(image, round(strength))
        case "solarize":
            return ImageOps.solarize(image, strength)
        case "autocontrast":
            return ImageOps.autocontrast(image)
        case "equalize":
            return ImageOps.equalize(image)
        case "color":
            return ImageEnhance.Color(image).enhance(1 + strength)
        case "contrast":
            return ImageEnhance.Contrast(image).enhance(1 + strength)
        case "brightness":
            return ImageEnhance.Brightness(image).enhance(1 + strength)
        case "sharpness":
            return ImageEnhance.Sharpness(image).enhance(1 + strength)
        case "rotate":
            return image.rotate(strength, fillcolor=(policy.FILL,) * 3)
        case "shear_y":
            return affine(image, (1, 0, 0, strength, 1, 0))
        case "translate_x":
            return affine(image, (1, 0, strength * width, 0, 1, 0))
        case _:
            return affine(image, (1, 0, 0, 0, 1, strength * height))


def pillow_batch(images: Tensor, name: str, strength: float) -> Tensor:
    arrays = [
        np.asarray(by_pillow(Image.fromarray(image.permute(1, 2, 0).numpy()), name, strength)) for image in images
    ]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def apply_one(images: Tensor, name: str, strength: float) -> Tensor:
    each = torch.ones(len(images), dtype=torch.float64)
    return policy.apply(images, (each * policy.INDEX[name]).long(), each * strength)


def strengths(name: str) -> list[float]:
    """Every strength at which the policy uses an operation, with both signs where it has them."""
    levels = {level for pair in policy.POLICY for operation, _, level in pair if operation == name}
    values = {policy.STRENGTH[name](level) for level in levels}
    return sorted(values | ({-value for value in values} if name in policy.SIGNED else set()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", policy.INDEX)
def test_each_operation_agrees_with_pillow(name: str, size: tuple[int, int]) -> None:
    images = random_images(0, *size)
    for strength in strengths(name):
        ours, pillows = apply_one(images, name, strength), pillow_batch(images, name, strength)
        difference = (ours.int() - pillows.int()).abs()
        if name in policy.WARPS:
            assert (difference > 0).float().mean() < 0.005, strength
        elif name in ("invert", "posterize", "solarize", "autocontrast", "equalize"):
            assert difference.max() == 0, strength
        else:
            assert difference.max() <= 1, strength


@pytest.mark.parametrize("name", policy.INDEX)
def test_a_grey_image_gives_what_three_equal_channels_give(name: str) -> None:
    grey = random_images(1, 28, 28, channels=1)
    for strength in strengths(name):
        coloured = apply_one(grey.expand(-1, 3, -1, -1).contiguous(), name, strength)
        assert torch.equal(apply_one(grey, name, strength).expand(-1, 3, -1, -1), coloured)


def test_the_table_has_the_published_policy() -> None:
    assert len(policy.POLICY) == 25
    operations = [entry for pair in policy.POLICY for entry in pair]
    assert {name for name, _, _ in operations} == set(policy.INDEX)
    assert all(0 <= probability <= 0.9 and 0 <= level <= 9 for _, probability, level in operations)
    counted = Counter(name for name, _, _ in operations)
    assert counted["equalize"] == 9
    assert counted["autocontrast"] == 7
    assert counted["translate_y"] == 5
    assert [policy.STRENGTH["posterize"](level) for level in range(10)] == [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]
    assert policy.STRENGTH["rotate"](9) == 30
    assert policy.STRENGTH["translate_x"](9) == pytest.approx(150 / 331)


def test_every_image_gets_two_draws_of_its_own_at_the_stated_rates() -> None:
    size = 4000
    one = random_images(2, 16, 16)[:1].expand(size, -1, -1, -1).contiguous()
    changed = policy.autoaugment(one, torch.Generator().manual_seed(0))
    again = policy.autoaugment(one, torch.Generator().manual_seed(0))
    assert torch.equal(changed, again)
    # an image stays as it is where both operations miss their chance, or at color's level 0
    missed = [[1.0 if (name, level) == ("color", 0) else 1 - p for name, p, level in pair] for pair in policy.POLICY]
    kept = np.prod(missed, axis=1).mean()
    share = (changed == one).flatten(1).all(1).double().mean().item()
    assert abs(share - kept) < 4 * math.sqrt(kept * (1 - kept) / size)
    assert len(changed.flatten(1).unique(dim=0)) > 60


def test_whole_batch_and_subset_paths_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(3, 32, 32)
    operation = torch.arange(len(images)) % (len(policy.INDEX) + 1) - 1
    names = list(policy.INDEX)
    strength = torch.tensor([strengths(names[op])[0] if op >= 0 else 0.0 for op in operation.tolist()]).double()
    subset = policy.apply(images, operation, strength)
    rows = torch.arange(len(images))
    monkeypatch.setattr(
        policy, "_change", lambda part, chosen, change: change(part, rows).where(chosen[:, None, None, None], part)
    )
    assert torch.equal(policy.apply(images, operation, strength), subset)
    assert torch.equal(subset[operation < 0], images[operation < 0])


def test_cut_out_blackens_a_clipped_square_anywhere() -> None:
    white = torch.full((3000, 1, 20, 24), 255, dtype=torch.uint8)
    holes = cut_out(white, 16, torch.Generator().manual_seed(0))[:, 0] == 0
    rows, columns = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(holes.sum((1, 2)), rows * columns)
    assert rows.min() == 8
    assert rows.max() == 16
    assert columns.min() == 8
    assert holes[:, 0, 0].any()
    assert holes[:, -1, -1].any()
    # pixel i is covered by centres i - 7 .. i + 8 that exist: 16 of 20 rows about the middle
    assert abs(holes[:, 10, 12].double().mean() - 16 * 16 / (20 * 24)) < 0.04


def test_other_augmentations_draw_what_they_drew() -> None:
    images, settings = random_images(4, 28, 28), Augmentation()
    generator, before = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    changed = augment(images, settings, generator)
    assert torch.equal(changed, transform(images, random_geometry(len(images), settings, before), settings.padding))
    assert torch.equal(generator.get_state(), before.get_state())
