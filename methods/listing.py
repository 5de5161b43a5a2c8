"""What training can be asked for by name: datasets, methods, recipes."""

from collections.abc import Mapping, Sequence

import methods
from shifts import catalog

Things = Sequence[tuple[str, str]]
RECIPES = (
    ("quick", "a small network for minutes on a CPU; nobody's published setting"),
    ("published", "the papers' setting: ResNet-32, 200 epochs"),
    ("published-xF", "epochs and milestones times F, under its own name"),
    ("NAME-bf16", "any of these with convolutions and matrix products in bfloat16"),
    ("FILE.toml", "any fields of a recipe"),
)


def sections() -> dict[str, Things]:
    """Heading -> (name, a line about it)."""
    return {
        "datasets (--dataset)": catalog.names(),
        "methods (--methods; options ride on the name: sade:tau=3)": methods.names(),
        "recipes (--recipe)": RECIPES,
    }


def as_text(found: Mapping[str, Things]) -> str:
    """Sections with their names in a column."""
    lines = []
    for title, things in found.items():
        width = max(len(name) for name, _ in things)
        lines += [
            title,
            *(f"  {name.ljust(width)}  {about.removeprefix(name).lstrip(': ')}" for name, about in things),
            "",
        ]
    return "\n".join(lines).rstrip()
