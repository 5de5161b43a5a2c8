"""`ImageSet`: labels and lazily decoded images of one split, whatever they are stored in."""

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt8

from shifts.common.errors import WorkFailed

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

BATCH = 1000
READ_AHEAD = 100
"""Encoded images in memory while images of any size are decoded one by one."""
ORIENTATION = 0x0112
"""EXIF's tag of an image's orientation."""
EXIF_MARKS = (b"Exif", b"eXIf", b"EXIF", b"exif")
"""One of these stands in every file with an EXIF block, whatever its format."""


class Store(Protocol):
    """Where encoded images lie."""

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """Read the encoded files of some images, in the order of `indices`. Raises OSError, WorkFailed."""
        ...

    def where(self, index: int) -> str:
        """Return the file name of one image, or ''."""
        ...


@runtime_checkable
class Changing(Protocol):
    """A store whose files can change while the fingerprint of their list stays."""

    def state(self) -> list[tuple[int, int, int]]:
        """Return size and times of change (nanoseconds) of every file. Raises OSError."""
        ...


@dataclass(frozen=True)
class TableStore:
    """Images in a column of a `datasets.Dataset` (undecoded: bytes, or a path where the bytes are not inside)."""

    table: Any
    column: str

    @cached_property
    def _arrow(self) -> Any:
        return self.table.select_columns([self.column]).with_format("arrow")

    def read(self, indices: Sequence[int]) -> list[bytes]:
        encoded = []
        for index, (content, path) in zip(indices, self._rows(indices), strict=True):
            if content is None and not path:
                raise FileNotFoundError(f"image {index} is missing")
            encoded.append(content if content is not None else Path(str(path)).read_bytes())
        return encoded

    def where(self, index: int) -> str:
        return self._rows([index])[0][1] or ""

    def _rows(self, indices: Sequence[int]) -> list[tuple[bytes | None, str | None]]:
        column = self._arrow[list(map(int, indices))].column(self.column).combine_chunks()
        contents, paths = column.field("bytes").to_pylist(), column.field("path").to_pylist()
        return list(zip(contents, paths, strict=True))


@dataclass(frozen=True)
class FileStore:
    """Images as files under a root folder."""

    root: Path
    paths: tuple[str, ...]

    def read(self, indices: Sequence[int]) -> list[bytes]:
        return [(self.root / self.paths[index]).read_bytes() for index in indices]

    def where(self, index: int) -> str:
        return self.paths[index]

    def state(self) -> list[tuple[int, int, int]]:
        found = (os.stat(self.root / path) for path in self.paths)
        return [(status.st_size, status.st_mtime_ns, status.st_ctime_ns) for status in found]


@dataclass(frozen=True, eq=False)
class PartStore:
    """Some images of another store, in their own order."""

    whole: Store
    chosen: Int[np.ndarray, " images"]

    def read(self, indices: Sequence[int]) -> list[bytes]:
        return self.whole.read(self.chosen[list(indices)].tolist())

    def where(self, index: int) -> str:
        return self.whole.where(int(self.chosen[index]))


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One split of a dataset: labels, class names, and images decoded only when asked for.

    `labels` are int64 [N] in 0..C-1 or, of a multi-label split, uint8 multi-hot [N, C]; `paths` are the lines' paths
    of a list-file dataset, else None. Pixels are what a person sees: an orientation that the file notes (EXIF) is
    applied, unless `as_published`, for list-file sets whose published figures were measured on the pixels as stored.
    """

    name: str
    split: str
    labels: Int[np.ndarray, " images"] | UInt8[np.ndarray, "images classes"]
    class_names: tuple[str, ...]
    store: Store
    paths: tuple[str, ...] | None = None
    as_published: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def multi_label(self) -> bool:
        """Whether an image has a set of labels instead of one."""
        return self.labels.ndim == 2

    def class_counts(self) -> Int[np.ndarray, " classes"]:
        """Count the images of each class, int64 [C]; of a multi-label split those that have the label."""
        if self.multi_label:
            return self.labels.sum(axis=0, dtype=np.int64)
        return np.bincount(self.labels, minlength=len(self.class_names))

    @cached_property
    def fingerprint(self) -> str:
        """The `digest` of the whole split."""
        return self.digest(range(len(self)))

    def digest(self, indices: Sequence[int]) -> str:
        """Return the SHA-256 (hex) of the encoded images and labels in order; of a published list-file set's lines.

        Independent of machine, file layout and decoder, and of images that are not asked for. Images that are turned
        when they are decoded are marked. Raises WorkFailed for an unreadable image file.
        """
        state = hashlib.sha256()
        chosen = list(map(int, indices))
        if self.as_published and self.paths is not None:
            for index in chosen:
                state.update(f"{self.paths[index]} {self.labels[index]}\n".encode())
            return state.hexdigest()
        for start in range(0, len(chosen), BATCH):
            for content in self.encoded(chosen[start : start + BATCH]):
                state.update(len(content).to_bytes(8, "little"))
                state.update(content)
                if _is_turned(content):
                    state.update(b"turned")
        state.update(self.labels[chosen].astype("<i8").tobytes())
        return state.hexdigest()

    def encoded(self, indices: Sequence[int]) -> list[bytes]:
        """Return the encoded files of some images, unchanged. Raises WorkFailed for one that cannot be read."""
        try:
            return self.store.read(indices)
        except OSError as error:
            raise WorkFailed(f"{self._title}: cannot read an image: {error}") from error

    def image_shape(self) -> tuple[int, int, int]:
        """Return (height, width, channels) of the first image as it is seen. Raises WorkFailed if it has no header."""
        content = self.encoded([0])[0]
        image = self._open(content, 0)
        if not self.as_published and _is_turned(content):
            image = _upright(image)
        return image.height, image.width, _channels(image.mode)

    def images(self, indices: Int[np.ndarray, " asked"]) -> UInt8[np.ndarray, "asked height width channels"]:
        """Decode images, uint8; one channel where all asked for are grey, else RGB (grey repeated).

        Raises WorkFailed naming file and index for an image that cannot be decoded or has another size than the
        split's first one.
        """
        height, width, channels = self.image_shape()
        decoded = []
        for start in range(0, len(indices), BATCH):
            batch = np.asarray(indices[start : start + BATCH]).tolist()
            for index, content in zip(batch, self.encoded(batch), strict=True):
                image = self._decode(content, index)
                if image.shape[:2] != (height, width):
                    sizes = f"{width} x {height} and {image.shape[1]} x {image.shape[0]} (image {index})"
                    raise WorkFailed(f"{self._title}: different image sizes, {sizes}; the recipe does not resize")
                decoded.append(image)
        if not decoded:
            return np.empty((0, height, width, channels), dtype=np.uint8)
        if any(image.ndim == 3 for image in decoded):
            return np.stack([image if image.ndim == 3 else np.stack([image] * 3, -1) for image in decoded])
        return np.stack(decoded)[..., None]

    def decoded(self, indices: Sequence[int]) -> Iterator[UInt8[np.ndarray, "height width *channels"]]:
        """Yield images one after the other, each at its own size, uint8: [H, W] where it is grey, else [H, W, 3].

        Raises WorkFailed naming file and index for an image that cannot be read or decoded.
        """
        for start in range(0, len(indices), READ_AHEAD):
            chosen = indices[start : start + READ_AHEAD]
            for index, content in zip(chosen, self.encoded(chosen), strict=True):
                yield self._decode(content, index)

    def pixels(self, content: bytes, index: int) -> UInt8[np.ndarray, "height width *channels"]:
        """Decode one encoded image, uint8: [H, W] where it is grey, else [H, W, 3]. Raises WorkFailed."""
        return self._decode(content, index)

    def header(self, content: bytes, index: int) -> tuple[str, bool]:
        """Return one encoded image's mode in Pillow's words, and whether it is turned. Raises WorkFailed."""
        return self._open(content, index).mode, not self.as_published and _is_turned(content)

    @property
    def _title(self) -> str:
        return f"{self.name} {self.split}"

    def _open(self, content: bytes, index: int) -> "PILImage":
        from PIL import Image

        try:
            return Image.open(io.BytesIO(content))
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise self._undecodable(index, error) from error

    def _decode(self, content: bytes, index: int) -> UInt8[np.ndarray, "..."]:
        from PIL import Image

        image = self._open(content, index)
        if image.mode in ("F", "I") or image.mode.startswith("I;16"):
            raise WorkFailed(f"{self._title}: image {index} has more than 8 bits a channel ({image.mode})")
        try:
            if not self.as_published and _may_be_turned(content):
                image = _upright(image)
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")  # the way that Pillow does not warn about; the colours are the same
            return np.asarray(image.convert("L" if _channels(image.mode) == 1 else "RGB"))
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise self._undecodable(index, error) from error

    def _undecodable(self, index: int, error: Exception) -> WorkFailed:
        file = self.store.where(index)
        name = f" ({file})" if file else ""
        # Pillow's own text holds the address of a buffer, which helps nobody.
        reason = "no known image format" if type(error).__name__ == "UnidentifiedImageError" else str(error)
        return WorkFailed(f"{self._title}: cannot decode image {index}{name}: {reason}")


def _may_be_turned(content: bytes) -> bool:
    """Return whether an encoded image has an EXIF block, where an orientation stands. TIFF is turned by its decoder."""
    return any(mark in content for mark in EXIF_MARKS)


def _is_turned(content: bytes) -> bool:
    """Return whether an encoded image is turned when it is decoded."""
    from PIL import Image

    if not _may_be_turned(content):
        return False
    try:
        return _orientation(Image.open(io.BytesIO(content))) != 1
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return False


def _orientation(image: "PILImage") -> int:
    """Return the orientation that the file notes, 1 (upright) to 8; 1 where it notes none that can be read."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1
    return value if value in range(1, 9) else 1


def _upright(image: "PILImage") -> "PILImage":
    """Turn the image to how a person sees it."""
    from PIL import ImageOps

    image.load()
    return ImageOps.exif_transpose(image) if _orientation(image) != 1 else image


def _channels(mode: str) -> int:
    """Return 1 for grey modes, 3 for every mode that becomes RGB."""
    return 1 if mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16") else 3
