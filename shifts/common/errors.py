"""The two ways in which a command fails, and look-up by name with the nearest name first."""

import difflib
from collections.abc import Iterable


class BadInput(ValueError):  # noqa: N818
    """What the user gave cannot be used; found before work starts: one line on stderr, exit status 2."""


class WorkFailed(RuntimeError):  # noqa: N818
    """Work that had started cannot go on: one line on stderr, exit status 1; finished results stay."""


def check_name(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return `name` if it is one of `allowed`; else raise BadInput that lists them, the nearest first."""
    names = list(allowed)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=len(names), cutoff=0.5)
    ordered = near + [other for other in names if other not in near]
    raise BadInput(f"unknown {kind} {name!r}; allowed: {', '.join(ordered)}")
