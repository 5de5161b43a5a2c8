"""The PyTorch versions that all tests passed with, and a note where another one is at work."""

import os
import re
import sys
from functools import cache

OLDEST, NEWEST = (2, 6), (2, 14)
"""Both were tried with all tests; pyproject.toml has the same lower bound, constraints.txt a version in between.

To try another one, widen this first: tests that expect a silent stderr fail beside the note.
"""


def note(version: str) -> str | None:
    """Return a sentence about a PyTorch version outside the tested ones, else None."""
    found = re.match(r"(\d+)\.(\d+)", version)
    number = (int(found[1]), int(found[2])) if found else (0, 0)
    if OLDEST <= number <= NEWEST:
        return None
    tested = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    return f"PyTorch {version} is {'older' if number < OLDEST else 'newer'} than the tested versions ({tested})"


@cache
def tell_untested(version: str) -> None:
    """Print `note` on stderr, once in a process and by one of torchrun's processes on a machine."""
    text = note(version)
    if text is not None and os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"note: {text}", file=sys.stderr)
