"""Images that do not fit memory: crops, worker processes, training from them, recipes that ask for them."""

import io
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from methods import papers
from methods.core.batch import Batch, NetworkSpec
from methods.core.recipe import Recipe
from methods.core.stage import Augmentation
from methods.papers.softmax import Softmax
from methods.pixels import crops, streaming
from methods.pixels.augment import augment, to_float
from methods.pixels.streaming import StreamedImages, stream
from methods.training.loop import build_network, derived_seed, train
from shifts.common.errors import WorkFailed
from shifts.images.catalog import channel_statistics
from shifts.images.imageset import ImageSet
from tests.methods import tiny

CPU = torch.device("cpu")
SIZES = ((20, 12), (12, 30), (16, 16), (40, 17), (9, 9))
"""(width, height)"""
RESIZED = replace(tiny.RECIPE, name="resized", crop="resized", size=8, rotation=0.0)


def noise(number: int, mode: str = "RGB") -> Image.Image:
    width, height = SIZES[number % len(SIZES)]
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class MemoryStore:
    """Encoded images in a list; notes how many are asked for at once."""

    files: Sequence[bytes]
    asked: list[int] = field(default_factory=list)

    def read(self, indices: Sequence[int]) -> list[bytes]:
        self.asked.append(len(indices))
        return [self.files[index] for index in indices]

    def where(self, index: int) -> str:
        return f"{index}.png"


def image_set(size: int = 24, **replaced: bytes) -> ImageSet:
    """Images of several sizes, every seventh of them grey; `replaced` files by `image{index}`."""
    files = [png(noise(number, "L" if number % 7 == 6 else "RGB")) for number in range(size)]
    for name, content in replaced.items():
        files[int(name.removeprefix("image"))] = content
    return ImageSet("made", "train", np.arange(size) % 3, ("a", "b", "c"), MemoryStore(files))


def crop(size: int = 8) -> crops.Crop:
    return partial(crops.training_crop, size=size, flip=True, jitter=0.4)


def streamed(batch_size: int = 5, seed: int = 1, workers: int = 0, source: ImageSet | None = None) -> Tensor:
    order = np.random.default_rng(0).permutation(24)
    batches = np.split(order, range(batch_size, 24, batch_size))
    return torch.cat(list(stream(source or image_set(), batches, crop(), seed, CPU, workers)))


# Crops


@pytest.mark.parametrize("sides", [(500, 375), (300, 1000), (1000, 100), (8, 8), (1, 40), (40, 1)])
@pytest.mark.parametrize("area", [crops.TRAINING_AREA, crops.VIEW_AREA])
def test_random_boxes_lie_inside_and_keep_their_ranges(sides: tuple[int, int], area: tuple[float, float]) -> None:
    generator = np.random.default_rng(0)
    boxes = np.array([crops.random_box(sides, generator, area) for _ in range(300)])
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= sides[0]).all()
    assert (boxes[:, 3] <= sides[1]).all()
    assert (widths > 0).all()
    assert (heights > 0).all()
    if min(sides) > 200:
        assert (np.abs(np.log(widths / heights)) <= np.log(4 / 3) + 0.05).all()


@pytest.mark.parametrize("sides", [(500, 375), (8, 8), (1, 40)])
def test_crops_of_whole_pictures_keep_four_fifths_of_each_side(sides: tuple[int, int]) -> None:
    """A picture of its own coordinates: what the crop shows spans at least 0.8 of both axes."""
    width, height = sides
    x = np.linspace(0, 250, width)[None].repeat(height, 0)
    y = np.linspace(0, 250, height)[:, None].repeat(width, 1)
    picture = Image.fromarray(np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8))
    generator, spans, mirrored = np.random.default_rng(0), [], 0
    for _ in range(200):
        made = crops.whole_training_crop(picture, generator, size=32, flip=True, jitter=0.0)
        assert made.size == (32, 32)
        pixels = np.asarray(made).astype(int)
        mirrored += int(pixels[0, 0, 0] > pixels[0, -1, 0])
        spans.append([np.ptp(pixels[..., axis]) for axis in range(2)])
    if min(sides) > 100:
        assert (np.array(spans) > 0.75 * 250).all()
        assert np.ptp(np.array(spans)[:, 0]) > 0.1 * 250
        assert 60 < mirrored < 140


def test_whole_pictures_are_resized_whatever_their_ratio() -> None:
    picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10).convert("RGB")
    made = np.asarray(crops.whole_picture(picture, np.random.default_rng(0), size=8))
    assert made.shape == (8, 8, 3)
    assert made[0, 0, 0] < 10
    assert made[-1, -1, 0] > 220


def test_streamed_whole_pictures_differ_from_crops_by_their_form_alone() -> None:
    parts, wholes = (replace(streamed_images(), whole=whole) for whole in (False, True))
    rows, still = [torch.arange(5)], Augmentation(flip=False, rotation=0.0)
    made = [next(data.augmented(rows, still, torch.Generator().manual_seed(0))) for data in (parts, wholes)]
    again = next(wholes.augmented(rows, still, torch.Generator().manual_seed(0)))
    assert made[0].shape == made[1].shape
    assert not torch.equal(*made)
    assert torch.equal(made[1], again)


def test_random_boxes_have_uniform_areas() -> None:
    generator = np.random.default_rng(0)
    # up to half of the area every ratio fits, so nothing is drawn again
    boxes = np.array([crops.random_box((1200, 900), generator, (0.2, 0.5)) for _ in range(2000)])
    shares = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (1200 * 900)
    assert np.quantile(shares, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([0.2, 0.275, 0.35, 0.425, 0.5], abs=0.01)


def test_extreme_images_get_their_centre() -> None:
    assert crops.random_box((1000, 10), np.random.default_rng(0), (0.9, 1.0)) == (493, 0, 506, 10)
    assert crops.random_box((10, 1000), np.random.default_rng(0), (0.9, 1.0)) == (0, 493, 10, 506)


@pytest.mark.parametrize(
    ("sides", "scaled", "corner"),
    [
        ((300, 200), (384, 256), (80, 16)),
        ((200, 300), (256, 384), (16, 80)),
        ((256, 256), (256, 256), (16, 16)),
        ((10, 700), (256, 17920), (16, 8848)),
        ((203, 190), (273, 256), (24, 16)),  # 273.5 falls; half of 49 goes to the even 24
        ((207, 190), (278, 256), (27, 16)),
    ],
)
def test_centre_crop_is_that_of_the_shorter_side_at_256(
    sides: tuple[int, int], scaled: tuple[int, int], corner: tuple[int, int]
) -> None:
    """The figures were taken from torchvision's Resize(256) and CenterCrop(224)."""
    image = Image.effect_noise(sides, 90).convert("RGB")
    left, top = corner
    expected = image.resize(scaled, Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224))
    ours = crops.centre_crop(image, np.random.default_rng(0), size=224)
    assert np.array_equal(np.asarray(ours), np.asarray(expected))


def test_training_crop_flips_and_jitters_where_asked() -> None:
    image = Image.effect_noise((64, 48), 90).convert("RGB")

    def made(flip: bool, jitter: float) -> list[np.ndarray]:
        generators = map(np.random.default_rng, range(20))
        return [np.asarray(crops.training_crop(image, g, size=16, flip=flip, jitter=jitter)) for g in generators]

    plain, flipped, jittered = made(False, 0), made(True, 0), made(False, 0.4)
    same = [np.array_equal(one, other) for one, other in zip(plain, flipped, strict=True)]
    mirrored = [np.array_equal(one[:, ::-1], other) for one, other in zip(plain, flipped, strict=True)]
    assert any(same)
    assert any(mirrored)
    assert all(map(np.logical_or, same, mirrored))
    assert not any(map(np.array_equal, plain, jittered))
    # a constant grey image keeps its colour under contrast and saturation: brightness alone in 0.6..1.4
    grey = Image.new("RGB", (30, 30), (100, 100, 100))
    generators = map(np.random.default_rng, range(200))
    values = [np.asarray(crops.training_crop(grey, g, size=4, flip=True, jitter=0.4))[0, 0, 0] for g in generators]
    assert 60 <= min(values) < 65
    assert 135 < max(values) <= 140


# Streaming


def test_stream_is_the_direct_computation() -> None:
    order = [3, 6, 3, 0]
    source = image_set()
    (first, second) = stream(source, [np.array(order[:3]), np.array(order[3:])], crop(), 9, CPU, workers=0)
    for place, (index, pixels) in enumerate(zip(order, [*first, *second], strict=True)):
        image = noise(index, "L" if index % 7 == 6 else "RGB").convert("RGB")
        expected = crop()(image, np.random.default_rng((9, place)))
        assert torch.equal(pixels, torch.from_numpy(np.array(expected)).permute(2, 0, 1))


def test_neither_workers_nor_batches_change_an_image() -> None:
    here = streamed()
    assert torch.equal(here, streamed(workers=2))
    assert torch.equal(here, streamed(batch_size=24))
    assert not torch.equal(here, streamed(seed=2))


def test_an_image_drawn_twice_is_cropped_twice() -> None:
    (batch,) = stream(image_set(), [np.array([1, 1])], crop(), 0, CPU, workers=0)
    assert not torch.equal(batch[0], batch[1])


def test_only_batches_are_read_and_decoded_at_a_time() -> None:
    source = image_set()
    assert isinstance(source.store, MemoryStore)
    batches = stream(source, np.split(np.arange(24), 6), crop(), 0, CPU, workers=0)
    for number in range(1, 4):
        next(batches)
        assert sum(source.store.asked) == 4 * number
    assert set(source.store.asked) == {1}


def test_workers_run_ahead_by_a_bounded_number_of_batches(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Counting:
        """Leaves a mark for every image that any process reads."""

        inner: MemoryStore

        def read(self, indices: Sequence[int]) -> list[bytes]:
            for index in indices:
                (tmp_path / str(index)).touch()
            return self.inner.read(indices)

        def where(self, index: int) -> str:
            return ""

    source = image_set(100)
    counted = replace(source, store=Counting(MemoryStore(source.store.files)))  # type: ignore[attr-defined]
    batches = stream(counted, np.split(np.arange(100), 50), crop(), 0, CPU, workers=2)
    next(batches)
    next(batches)
    batches.close()
    assert len(list(tmp_path.iterdir())) <= 2 * (2 + 2 * streaming.AHEAD)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_undecodable_image_is_named_in_one_line(workers: int) -> None:
    with pytest.raises(WorkFailed, match=r"^made train: cannot decode image 5 \(5.png\): no known image format$"):
        streamed(workers=workers, source=image_set(image5=b"nothing"))


def test_a_dead_worker_is_work_failed() -> None:
    def die(image: Image.Image, generator: np.random.Generator) -> Image.Image:
        os.kill(os.getpid(), signal.SIGKILL)
        return image

    with pytest.raises(WorkFailed, match="made train: a process that decodes images died: DataLoader worker"):
        list(stream(image_set(), [np.arange(4)], die, 0, CPU, workers=1))


def test_worker_count_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= streaming.worker_count() <= streaming.MOST_WORKERS
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(200)), raising=False)
    assert streaming.worker_count() == streaming.MOST_WORKERS


def test_channel_statistics_of_images_of_different_sizes() -> None:
    source = image_set(10)
    pixels = np.concatenate([np.asarray(noise(n, "L" if n % 7 == 6 else "RGB").convert("RGB")).reshape(-1, 3) / 255
                             for n in range(10)])  # fmt: skip
    np.testing.assert_allclose(channel_statistics(source), [pixels.mean(0), pixels.std(0)], rtol=1e-10)


# Training


@pytest.fixture
def one_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(streaming, "worker_count", lambda: 1)
    return


def streamed_images(source: ImageSet | None = None, size: int = 8) -> StreamedImages:
    source = source or image_set()
    indices = np.arange(1, 22)
    labels = torch.from_numpy(source.labels[indices])
    counts = torch.bincount(labels, minlength=3).float()
    return StreamedImages(source, indices, size, labels, counts, torch.full((3,), 0.5), torch.full((3,), 0.25))


@dataclass(frozen=True)
class Recording(Softmax):
    """softmax that keeps what its step is given."""

    seen: list[Batch] = field(default_factory=list, compare=False)

    def stages(self, recipe: Recipe) -> list:
        (stage,) = super().stages(recipe)

        def step(network: torch.nn.Module, batches: Sequence[Batch], epoch: int) -> dict[str, Tensor]:
            self.seen.extend(batches)
            return stage.step(network, batches, epoch)

        return [replace(stage, step=step)]


def test_batches_from_memory_are_the_direct_computation(tmp_path: Path) -> None:
    method, data = Recording(), tiny.images()
    tiny.run(method, tmp_path / "resume.safetensors", replace(tiny.RECIPE, epochs=1))
    generator = torch.Generator().manual_seed(derived_seed("epoch", 1, 0, 0))
    order = torch.randperm(len(data.labels), generator=generator)
    for rows, batch in zip(order.split(tiny.RECIPE.batch_size), method.seen, strict=True):
        pixels = augment(data.images[rows], Augmentation(), generator)
        assert torch.equal(batch.images, to_float(pixels, data.mean, data.std))
        assert torch.equal(batch.target, data.labels[rows])


@pytest.mark.usefixtures("one_worker")
def test_batches_from_a_stream_are_the_direct_computation(tmp_path: Path) -> None:
    method, data = Recording(), streamed_images()
    setting = replace(RESIZED, epochs=1, jitter=0.4)
    train(method, setting, data, 1, resume=tmp_path / "resume.safetensors", key="")
    generator = torch.Generator().manual_seed(derived_seed("epoch", 1, 0, 0))
    order = torch.randperm(len(data.labels), generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    pixels = torch.cat(list(stream(data.source, [data.indices[order.numpy()]], crop(), seed, CPU, workers=0)))
    assert torch.equal(torch.cat([batch.images for batch in method.seen]), to_float(pixels, data.mean, data.std))
    assert torch.equal(torch.cat([batch.target for batch in method.seen]), data.labels[order])


def test_what_workers_do_not_do_follows_on_the_device() -> None:
    data, rows = streamed_images(), [torch.arange(6)]
    generator = torch.Generator().manual_seed(0)
    (plain,) = data.augmented(rows, Augmentation(rotation=0.0), generator)
    expected = augment(plain, Augmentation(padding=0, flip=False, rotation=15.0), generator)
    (turned,) = data.augmented(rows, Augmentation(rotation=15.0), generator.manual_seed(0))
    assert torch.equal(turned, expected)
    assert not torch.equal(turned, plain)


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("name", ["ride", "balpoe"])
def test_a_killed_streamed_run_reaches_the_same_weights(name: str, tmp_path: Path) -> None:
    method = papers.get(name)

    def run(file: str, after: tuple[str, int] = ("", 0)) -> dict[str, Tensor]:
        progress = tiny.crash_after(*after)
        done = train(method, RESIZED, streamed_images(), 1, resume=tmp_path / file, key="", progress=progress)
        return done.network.state_dict()

    whole = run("whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        run("killed.safetensors", ("experts", 1))
    resumed = run("killed.safetensors")
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())


def test_heads_and_trunk_may_have_their_own_learning_rates(tmp_path: Path) -> None:
    def moved(trunk_lr: float) -> dict[str, float]:
        setting = replace(tiny.RECIPE, epochs=1, warmup=0, batch_size=64, weight_decay=0.0, trunk_lr=trunk_lr)
        trained = tiny.run(papers.get("sade"), tmp_path / f"{trunk_lr}.safetensors", setting).network
        start = build_network(papers.get("sade"), NetworkSpec("resnet8", tiny.COUNTS, (8, 8)), 1)
        pairs = zip(start.named_parameters(), trained.parameters(), strict=True)
        return {name: float((before - after).detach().norm()) for (name, before), after in pairs}

    full, tenth = moved(1.0), moved(0.1)  # one step each
    for name, distance in full.items():
        share = 1.0 if name.startswith("heads.") else 0.1
        assert tenth[name] == pytest.approx(share * distance, rel=1e-3), name


# Pre-trained weights
