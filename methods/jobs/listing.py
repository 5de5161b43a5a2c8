"""What training can be asked for by name: datasets, methods, recipes."""

import json
from collections.abc import Mapping, Sequence

from methods import papers
from methods.core.options import class_fields
from shifts.images import entries

Things = Sequence[tuple[str, str]]
RECIPES = (
    ("quick", "a small network for minutes on a CPU; nobody's published setting"),
    ("published", "the papers' setting: ResNet-32, 200 epochs"),
    ("published-xF", "epochs and milestones times F, under its own name; also quick-xF"),
    ("NAME-bf16", "any of these with convolutions and matrix products in bfloat16"),
    ("NAME-sizeN", "so rows call any of these with --size N: images of any size, resized to N x N pixels"),
    ("FILE.toml", "any of the fields below; the others are as shown, which is published on CIFAR-100, or those of"),
    ("  base", "str: one of the names above, as it is on the dataset, its schedule scaled to the file's epochs"),
)


def sections() -> dict[str, Things]:
    """Return the things under each heading: (name, a line about it)."""
    return {
        "datasets (--dataset)": entries.names(),
        "methods (--methods; options ride on the name: sade:tau=3)": papers.names(),
        "recipes (--recipe)": [*RECIPES, *recipe_fields()],
    }


def recipe_fields() -> Things:
    """Return the name, type and default of each field of a recipe file, as they are written there."""
    (_, *others) = class_fields("methods.core.recipe", "Recipe")
    return [
        ("  name", "str: the file's name"),
        *((f"  {name}", f"{_kind(kind)} = {json.dumps(default)}") for name, kind, default in others),
    ]


def _kind(annotation: str) -> str:
    """Name a type as a user of TOML knows it."""
    if annotation.startswith("tuple["):
        return "list of " + annotation.removeprefix("tuple[").partition(",")[0]
    return annotation.removeprefix("Literal[").removesuffix("]").replace("'", '"').replace(", ", " | ")


def as_text(found: Mapping[str, Things]) -> str:
    """Return sections with their names in a column."""
    lines = []
    for title, things in found.items():
        width = max(len(name) for name, _ in things)
        lines += [
            title,
            *(f"  {name.ljust(width)}  {about.removeprefix(name).lstrip(': ')}" for name, about in things),
            "",
        ]
    return "\n".join(lines).rstrip()
