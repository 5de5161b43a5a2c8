"""Files that are complete or absent: written beside their final name, flushed, renamed."""

import hashlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MOST_BYTES = 200
"""Bytes of a name without its suffix; file systems take 255 of a whole name, locks and the like add to it."""
_HASH_DIGITS = 12
_PLAIN = re.compile(r"[\w=@-](?:[\w.=@-]*[\w=@-])?")


def file_name(text: str, most: int = MOST_BYTES) -> str:
    """Return a file name for `text`, at most `most` bytes of UTF-8 long; different texts have different names.

    A plain text stays as it is: letters, digits and `_ . - @ =`, in lower case, in Unicode normal form C, without a
    dot at either end. Of any other text a readable part is kept, and a hash of the text follows after a `~`, which no
    plain text has. So names differ also on a file system that ignores case or Unicode normal forms.
    """
    plain = _PLAIN.fullmatch(text) and text == text.casefold() and unicodedata.is_normalized("NFC", text)
    if plain and shortened(text, most) == text:
        return text
    tail = "~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return shortened(sanitised(text).strip("._"), most - len(tail)) + tail


def sanitised(text: str) -> str:
    """Return `text` with every run of characters that do not belong in a file name as one `_`.

    Two texts may give one name: for names that something else tells apart, such as a hash at their end.
    """
    return re.sub(r"[^\w.@=-]+", "_", text)


def printable(text: str) -> str:
    """Return `text` with what cannot be shown as Python writes it, as bytes of a file name that are no UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shortened(text: str, most: int) -> str:
    """Return the beginning of `text` that takes at most `most` bytes of UTF-8, without half a character at its end."""
    return text.encode("utf-8", "surrogatepass")[:most].decode("utf-8", "ignore")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder (made if missing); on success flush it to disk and rename it.

    On an exception the temporary file is removed and `path` is left as it was. A kill leaves at most a
    `.tmp-*` file, which nothing reads.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_tensors(path: Path, arrays: "Mapping[str, np.ndarray]", metadata: Mapping[str, str]) -> None:
    """Write arrays, however they lie in memory, and text about them as a safetensors file, complete or not at all.

    Raises OSError where the file cannot be written.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # safetensors 0.8.0 writes the memory of an array that is not contiguous, in the wrong order and without a word.
    whole = {name: np.asarray(array, array.dtype.newbyteorder("="), order="C") for name, array in arrays.items()}
    with atomic(path) as temporary:
        try:
            save_file(whole, temporary, dict(metadata))
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path`, complete or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a JSON-able value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _umask() -> int:
    """Return the process's file mode mask (reading it means setting it for a moment)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
