"""Which files lie under a folder or in a zip archive: their paths as parts, hidden ones apart."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from shifts.common.errors import BadInput

Parts = tuple[str, ...]
"""A path below a folder, part by part: any character may stand in a part."""

_TEXT = (
    ".apng .avif .bmp .cr2 .dib .dng .gif .heic .heif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .jxl .nef .pbm .pcx .pgm "
    ".png .pnm .ppm .ras .sgi .tga .tif .tiff .webp .xbm .xpm"
)
SUFFIXES = frozenset(_TEXT.split())
"""Suffixes of image files; of those some can only be named as not decodable."""

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_HIDDEN = ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini")


def is_hidden(parts: Parts) -> bool:
    """Return whether a path is one that people do not see: a part begins with a dot, or a system made it."""
    return any(part.startswith(".") or part in _HIDDEN for part in parts)


def files_under(folder: Path) -> list[Parts]:
    """Return the paths of all files below a folder, sorted part by part; links are followed, each folder once.

    Raises BadInput for a folder that cannot be read.
    """
    return sorted(_walk(folder, (), frozenset()))


def _walk(folder: Path, parts: Parts, above: frozenset[tuple[int, int]]) -> Iterator[Parts]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in above:
            return  # A link back to a folder that holds it.
        above |= {(status.st_dev, status.st_ino)}
        with os.scandir(folder) as entries:
            listed = list(entries)
    except OSError as error:
        raise BadInput(f"cannot read the folder {folder}: {error.strerror}") from error
    for entry in listed:
        inner = (*parts, entry.name)
        if entry.is_dir():
            yield from _walk(folder / entry.name, inner, above)
        elif not entry.is_symlink() or entry.is_file():
            yield inner


def files_in(archive: Path) -> dict[Parts, str]:
    """Return the paths of all files in a zip archive and the archive's own name of each. Raises BadInput."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [info.filename for info in opened.infolist() if not info.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise BadInput(f"{archive} cannot be read as a zip archive: {error}") from error
    names = {tuple(part for part in member.split("/") if part not in ("", ".")): member for member in members}
    if len(names) < len(members):
        raise BadInput(f"{archive} holds a file of one name twice; make it again")
    return names


def is_image(path: Path) -> bool:
    """Return whether a file is an image, by its suffix or, without a suffix of images, by its first bytes."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            start = stream.read(12)
    except OSError:
        return False
    return start.startswith(_SIGNATURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def shown(parts: Parts) -> str:
    """Return a path as text that can be printed, whatever bytes its name has."""
    return "/".join(parts).encode("utf-8", "backslashreplace").decode()
