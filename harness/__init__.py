"""What is asked of models under test-time label shift, and what came out."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def _check_sibling(name: str) -> None:
    """Refuse to go on where the package `name` is somebody else's.

    `python -m` looks in the working folder first, and a project may well have a folder `methods` of its own.
    """
    spec = find_spec(name)
    folders = [] if spec is None else [Path(folder).resolve() for folder in spec.submodule_search_locations or []]
    if Path(__file__).resolve().parents[1] / name in folders:
        return
    place = f"is that of {folders[0]}" if folders else "is missing"
    message = f"the package {name!r} {place}, not tailshift's; use the command tailshift, or python -P -m harness.run"
    if sys.argv[:1] == ["-m"]:  # so it is while `python -m harness.run` looks for its module
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    raise ImportError(message)


_check_sibling("methods")
_check_sibling("shifts")

import shifts  # noqa: E402, F401 - settles the environment before NumPy and PyTorch are loaded

FACE = {
    "ask": "harness.run",
    "LabelShiftAdapter": "harness.applying.label_shift",
    "OnlineAdapter": "harness.applying.online",
}
"""What is at hand as `harness.NAME`, and where it is; loaded when it is asked for."""


def __getattr__(name: str) -> object:
    if name in FACE:
        return getattr(import_module(FACE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *FACE])
