"""What exists by name: datasets, methods, adapters, shifts, recipes."""

import harness.adapters
import methods
from shifts import catalog
from shifts.shift import published_shifts

SHIFTS = [
    ("forward_lt-R, backward_lt-R", "long-tailed in the training set's class order, or reversed, ratio R"),
    ("uniform", "the whole balanced pool"),
    ("shuffled_lt-R-sS", "long-tailed over a seeded permutation of the classes"),
    ("dirichlet-A-sS", "class prior drawn from Dirichlet(A)"),
    ("custom-FILE.json", "class weights or counts from a file"),
    ("list-FILE", "the images that a published or own list names"),
    ("all", "the eleven published sets: " + " ".join(map(str, published_shifts()))),
]
RECIPES = [
    ("quick", "a small network for minutes on a CPU; nobody's published setting"),
    ("published", "the papers' setting: ResNet-32, 200 epochs"),
    ("published-xF", "epochs and milestones times F, under its own name"),
    ("NAME-bf16", "any of these with convolutions and matrix products in bfloat16"),
    ("FILE.toml", "any fields of a recipe"),
]


def listing() -> str:
    """Everything that a command line can name, with a line on each."""
    sections = {
        "datasets (--dataset)": catalog.names(),
        "methods (--methods; options ride on the name: sade:tau=3)": methods.names(),
        "adapters (--adapters)": harness.adapters.names(),
        "shifts (--shift)": SHIFTS,
        "recipes (--recipe)": RECIPES,
    }
    lines = []
    for title, things in sections.items():
        width = max(len(name) for name, _ in things)
        lines += [
            title,
            *(f"  {name.ljust(width)}  {about.removeprefix(name).lstrip(': ')}" for name, about in things),
            "",
        ]
    return "\n".join(lines).rstrip()
