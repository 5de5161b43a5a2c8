"""What exists by name: datasets, methods, adapters, shifts, recipes."""

import harness.adapters
from methods.jobs.listing import as_text, sections
from shifts.labels.shift import published_shifts

SHIFTS = [
    ("forward_lt-R, backward_lt-R", "long-tailed in the training set's class order, or reversed, ratio R"),
    ("uniform", "the whole balanced pool"),
    ("natural", "the pool as it is"),
    ("shuffled_lt-R-sS", "long-tailed over a seeded permutation of the classes"),
    ("dirichlet-A-sS", "class prior drawn from Dirichlet(A)"),
    ("custom-FILE.json", "class weights or counts from a file"),
    ("list-FILE", "the images that a published or own list names"),
    ("all", "the eleven published sets: " + " ".join(map(str, published_shifts()))),
]


def listing() -> str:
    """Everything that a command line can name, with a line on each."""
    *first, last = sections().items()
    own = [("adapters (--adapters)", harness.adapters.names()), ("shifts (--shift)", SHIFTS)]
    return as_text(dict([*first, *own, last]))
