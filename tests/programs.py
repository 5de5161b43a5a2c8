"""Programs of the examples and of the documentation, run as if alone, in this process."""

import contextlib
import io
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder: Path, example: str, *arguments: str) -> str:
    """Return what an example prints that is started in a folder with these arguments."""
    file = str(EXAMPLES / example)
    return _printed(folder, [file, *arguments], lambda: runpy.run_path(file, run_name="__main__"))


def run_text(folder: Path, program: str) -> str:
    """Return what a program prints in a folder."""
    return _printed(folder, ["-c"], lambda: exec(compile(program, "<program>", "exec"), {"__name__": "__main__"}))


def _printed(folder: Path, words: list[str], program: Callable[[], object]) -> str:
    out, err = io.StringIO(), io.StringIO()
    with _as_found(), contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        patch.setattr(sys, "path", [os.fspath(folder), *sys.path])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = _status(program)
    assert not status, err.getvalue()
    return out.getvalue()


def _status(program: Callable[[], object]) -> object:
    try:
        program()
    except SystemExit as end:
        return end.code
    return 0


@contextlib.contextmanager
def _as_found() -> Iterator[None]:
    """Take back what a program registers."""
    from harness.adapters import ADAPTERS
    from methods.papers import METHODS

    before = dict(ADAPTERS), dict(METHODS)
    try:
        yield
    finally:
        for names, kept in zip((ADAPTERS, METHODS), before, strict=True):
            names.clear()
            names.update(kept)
