"""Facts about every image of a split, found by decoding each once: sizes, modes, pixels that are equal, damage.

They are remembered in the cache of `datasets`, by the split's fingerprint.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from shifts.common.errors import WorkFailed
from shifts.common.files import digest, write_tensors
from shifts.images.imageset import READ_AHEAD, Changing, ImageSet

VERSION = 1
"""Raised whenever the same images would give other facts."""


@dataclass(frozen=True)
class Summary:
    """What is counted over a split: images by mode, turned ones, values of each channel, what cannot be decoded."""

    modes: dict[str, int]
    turned: int
    first_turned: int
    low: list[int]
    high: list[int]
    errors: dict[str, str]
    """Reason by index (as text, as JSON has it)."""


@dataclass(frozen=True, eq=False)
class Facts:
    """Facts about a split. sizes: width and height of each image, 0 where it cannot be decoded; pixels: their hash."""

    sizes: Int[np.ndarray, "images 2"]
    pixels: UInt8[np.ndarray, "images 16"]
    summary: Summary

    @property
    def errors(self) -> dict[int, str]:
        """The reason, by index, why an image cannot be decoded."""
        return {int(index): reason for index, reason in self.summary.errors.items()}


def facts(images: ImageSet, decode: bool = True) -> Facts | None:
    """Return the facts about a split: remembered ones, else, with `decode`, by decoding every image (bar after 2 s)."""
    path = _memory(images)
    if path is not None:
        remembered = _read(path)
        if remembered is not None:
            return remembered
    if not decode:
        return None
    if path is None:
        return _decoded(images)
    with _one_at_a_time(path):
        remembered = _read(path)
        if remembered is not None:  # another process has just looked
            return remembered
        decoded = _decoded(images)
        _write(path, decoded)
    return decoded


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Let one process look while others wait for what it finds. Without a lock where the cache cannot be written."""
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock")).acquire()
    except OSError:
        yield
        return
    with lock:
        yield


def _memory(images: ImageSet) -> Path | None:
    """Return the file that remembers the facts; None where some image cannot be read."""
    import datasets
    import PIL

    try:
        state = images.store.state() if images.as_published and isinstance(images.store, Changing) else None
        key = digest([VERSION, PIL.__version__, images.fingerprint, state])
    except (WorkFailed, OSError):
        return None
    return Path(datasets.config.HF_DATASETS_CACHE) / "tailshift" / f"facts-{key[:32]}.safetensors"


def _read(path: Path) -> Facts | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stored:
            summary = json.loads((stored.metadata() or {})["summary"])
            return Facts(stored.get_tensor("sizes"), stored.get_tensor("pixels"), Summary(**summary))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None  # A damaged memory is none: the images are decoded again.


def _write(path: Path, decoded: Facts) -> None:
    metadata = {"summary": json.dumps(asdict(decoded.summary))}
    try:
        write_tensors(path, {"sizes": decoded.sizes, "pixels": decoded.pixels}, metadata)
    except OSError:
        return  # A cache that cannot be written costs time, nothing else.


def _decoded(images: ImageSet) -> Facts:
    """Decode every image, on all cores: the decoders of large images let other threads run."""
    from tqdm import tqdm

    parts = [range(start, min(start + READ_AHEAD, len(images))) for start in range(0, len(images), READ_AHEAD)]
    sizes, pixels = np.zeros((len(images), 2), dtype=np.int32), np.zeros((len(images), 16), dtype=np.uint8)
    modes: Counter[str] = Counter()
    turned: list[int] = []
    low, high = np.full(3, 255), np.zeros(3, dtype=np.int64)
    errors: dict[str, str] = {}
    title = f"checking {images.name} {images.split}"
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(images), desc=title, unit="image", delay=2, leave=False, disable=None) as bar,
    ):
        for indices, results in zip(parts, pool.map(lambda part: _facts_of_images(images, part), parts), strict=True):
            for index, result in zip(indices, results, strict=True):
                if isinstance(result, str):
                    errors[str(index)] = result
                    continue
                sizes[index], pixels[index] = result.size, result.pixels
                modes[result.mode] += 1
                turned += [index] if result.turned else []
                low, high = np.minimum(low, result.low), np.maximum(high, result.high)
            bar.update(len(indices))
    first = turned[0] if turned else -1
    summary = Summary(dict(sorted(modes.items())), len(turned), first, low.tolist(), high.tolist(), errors)
    return Facts(sizes, pixels, summary)


@dataclass(frozen=True)
class _ImageFacts:
    """The facts about one image."""

    size: tuple[int, int]
    pixels: UInt8[np.ndarray, "16"]
    mode: str
    turned: bool
    low: Any
    high: Any


def _facts_of_images(images: ImageSet, indices: Sequence[int]) -> list[_ImageFacts | str]:
    """Decode some images. Return the facts about each, or the reason where that fails."""
    try:
        contents = images.encoded(indices)
    except WorkFailed:
        return [_facts_of_image(images, index) for index in indices]
    return [_facts_of_content(images, index, content) for index, content in zip(indices, contents, strict=True)]


def _facts_of_image(images: ImageSet, index: int) -> _ImageFacts | str:
    try:
        (content,) = images.encoded([index])
    except WorkFailed as error:
        return str(error)
    return _facts_of_content(images, index, content)


def _facts_of_content(images: ImageSet, index: int, content: bytes) -> _ImageFacts | str:
    try:
        mode, turned = images.header(content, index)
        image = images.pixels(content, index)
    except WorkFailed as error:
        return str(error)
    if image.ndim == 3 and (image[..., :1] == image).all():
        image = image[..., 0]  # Grey stored as colour is the same picture.
    state = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    state.update(image.tobytes())
    channels = image.reshape(-1, 1 if image.ndim == 2 else 3)
    pixels = np.frombuffer(state.digest(), dtype=np.uint8)
    return _ImageFacts(
        (image.shape[1], image.shape[0]), pixels, mode, turned, channels.min(axis=0), channels.max(axis=0)
    )
