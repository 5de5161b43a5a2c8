"""What exists by name: datasets, methods, adapters, shifts, recipes."""

import harness.adapters
from methods.jobs.listing import as_text, sections
from shifts.labels.kinds import KINDS
from shifts.labels.shift import published_shifts


def listing() -> str:
    """Return everything that a command line can name, with a line on each."""
    *first, last = sections().items()
    published = ("all", "the eleven published sets: " + " ".join(map(str, published_shifts())))
    shifts = [*((kind.example, kind.about) for kind in KINDS.values()), published]
    own = [("adapters (--adapters)", harness.adapters.names()), ("shifts (--shift)", shifts)]
    return as_text(dict([*first, *own, last]))
