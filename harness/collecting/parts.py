"""Arrays that grow on the disk, image by image, and become one safetensors file when all images are there.

`FILE.parts/` beside the file to be holds one raw file an array and `state.json`, which says how much of each is whole.
Killed at any moment, a collection goes on from the last state; what lies behind it is cut off.
"""

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout

from shifts.common.errors import BadInput, WorkFailed
from shifts.common.files import atomic, write_text

STATE_VERSION = 1
SECONDS = 10.0
"""How much work a kill may cost."""
_TYPES = {"<f2": "F16", "<f4": "F32", "<f8": "F64", "|u1": "U8", "<i8": "I64"}
"""NumPy's names of types as safetensors has them."""
_COPIED_AT_ONCE = 2**24


class Parts:
    """The arrays of one collection. `asked`: what was asked for, by name; another request does not go on with them.

    Opening takes the folder for this process. Raises BadInput where it holds what another request left, or belongs to a
    running process, and WorkFailed where it is damaged.
    """

    def __init__(self, output: Path, asked: Mapping[str, str]) -> None:
        self.output = output
        self.folder = output.with_name(output.name + ".parts")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BadInput(f"{self.folder} is in use by another process; name another output") from None
        self._open: dict[str, IO[bytes]] = {}
        self._saved_at = time.monotonic()
        try:
            self._state = self._read(dict(asked))
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> "Parts":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what is whole; where there is nothing, no folder either."""
        try:
            if self._state["stages"] and self.folder.exists():
                self.save()
        finally:
            for stream in self._open.values():
                stream.close()
            if not self._state["stages"]:
                shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.release()

    def progress(self, stage: str) -> dict[str, Any]:
        """Return the notes on a stage: whatever `advance` was last given, empty at the start."""
        return dict(self._state["stages"].get(stage, {}))

    def advance(self, stage: str, rows: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Append rows, one an image, to arrays, and note how far the stage is; on the disk a few seconds later.

        All of it counts or nothing. Raises ValueError for rows of another shape or type than those before.
        """
        arrays = self._state["arrays"] | {name: self._append(name, array) for name, array in rows.items()}
        self._state = self._state | {"arrays": arrays, "stages": self._state["stages"] | {stage: dict(notes)}}
        if time.monotonic() - self._saved_at > SECONDS:
            self.save()

    def keep(self, name: str, array: np.ndarray) -> None:
        """Store a whole array, once."""
        if not self.has(name):
            self._state = self._state | {"arrays": self._state["arrays"] | {name: self._append(name, array)}}

    def has(self, name: str) -> bool:
        """Return whether an array has rows."""
        return name in self._state["arrays"]

    def row(self, name: str) -> list[int]:
        """Return the shape of one row of an array."""
        return list(self._state["arrays"][name]["row"])

    def read(self, name: str) -> np.ndarray:
        """Return an array."""
        for stream in self._open.values():
            stream.flush()
        count = int(self._state["arrays"][name]["bytes"]) // self._dtype(name).itemsize
        return np.fromfile(self.folder / name, self._dtype(name), count).reshape(-1, *self.row(name))

    def count(self, name: str) -> int:
        """Return the number of rows of an array."""
        size = int(np.prod(self.row(name), dtype=np.int64)) * self._dtype(name).itemsize
        return int(self._state["arrays"][name]["bytes"]) // size

    def save(self) -> None:
        """Bring all rows to the disk, then the state that counts them."""
        for stream in self._open.values():
            stream.flush()
            os.fsync(stream.fileno())
        write_text(self.folder / "state.json", json.dumps(self._state, indent=1, sort_keys=True) + "\n")
        self._saved_at = time.monotonic()

    def join(self, files: Mapping[str, tuple[Sequence[str], Sequence[int]]], metadata: Mapping[str, str]) -> None:
        """Make the output of the arrays, complete or not at all, and remove the folder.

        files: name of an array in the output -> names of the arrays here that follow one another in it, and its shape.
        """
        self.save()
        header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
        # Wide types first, so that every array lies at a multiple of its own width.
        order = sorted(files, key=lambda name: (-self._dtype(files[name][0][0]).itemsize, name))
        at = 0
        for name in order:
            parts, shape = files[name]
            size = sum(self._state["arrays"][part]["bytes"] for part in parts)
            dtype = self._dtype(parts[0])
            assert size == int(np.prod(shape, dtype=np.int64)) * dtype.itemsize, name
            header[name] = {"dtype": _TYPES[dtype.str], "shape": list(shape), "data_offsets": [at, at + size]}
            at += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with atomic(self.output) as temporary, temporary.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            for part in (part for name in order for part in files[name][0]):
                with (self.folder / part).open("rb") as source:
                    shutil.copyfileobj(source, stream, _COPIED_AT_ONCE)
        for opened in self._open.values():
            opened.close()
        self._open.clear()
        shutil.rmtree(self.folder)

    def _append(self, name: str, array: np.ndarray) -> dict[str, Any]:
        """Write rows at the end of an array; returns what is known of it with them."""
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        about = {"dtype": array.dtype.str, "row": list(array.shape[1:])}
        known = self._state["arrays"].get(name, about | {"bytes": 0})
        if {"dtype": known["dtype"], "row": known["row"]} != about:
            before = f"{np.dtype(known['dtype'])}{known['row']}"
            raise ValueError(f"{name} is {array.dtype}{about['row']} an image, before it was {before}")
        if name not in self._open:
            self._open[name] = (self.folder / name).open("ab")
        self._open[name].write(array.data)
        return about | {"bytes": known["bytes"] + array.nbytes}

    def _dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(self._state["arrays"][name]["dtype"])

    def _read(self, asked: dict[str, str]) -> dict[str, Any]:
        path = self.folder / "state.json"
        if not path.exists():
            # What a kill left before the first state counts for nothing.
            self._remove(entry for entry in self.folder.iterdir() if entry.name != ".lock")
            return {"version": STATE_VERSION, "asked": asked, "stages": {}, "arrays": {}}
        try:
            state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            before, arrays, version = state["asked"], state["arrays"], state["version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkFailed(f"{path}: no state of a collection ({error}); delete {self.folder}") from error
        if version != STATE_VERSION:
            raise BadInput(f"{self.folder} was begun by another version of the program; delete it")
        other = sorted(name for name in before.keys() | asked.keys() if before.get(name) != asked.get(name))
        if other:
            raise BadInput(
                f"{self.folder} was begun with other {', '.join(other)}; delete it, or name another output to keep it"
            )
        for name, about in arrays.items():
            file = self.folder / name
            if not file.exists() or file.stat().st_size < about["bytes"]:
                raise WorkFailed(f"{file} is shorter than state.json says; delete {self.folder}")
            os.truncate(file, about["bytes"])
        self._remove(entry for entry in self.folder.iterdir() if entry.name not in {*arrays, "state.json", ".lock"})
        return state

    @staticmethod
    def _remove(entries: Iterable[Path]) -> None:
        for entry in list(entries):
            entry.unlink()
