"""Where and with what a row is made."""

import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def versions() -> tuple[tuple[str, str], ...]:
    """Return name and version of the libraries that a number may depend on, and of this program."""
    return tuple((name, version(name)) for name in ("torch", "numpy", "scipy", "datasets", "tailshift"))


@cache
def revision() -> str:
    """Return the program's git revision where it runs from a clone, else its version.

    It is never part of a row's identity.
    """
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parents[2]), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except OSError:
        return version("tailshift")
    return found.stdout.strip() or version("tailshift")
