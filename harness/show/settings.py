"""A training set and a recipe, in words."""

from harness.records.rows import Row
from shifts.sets.training import in_words


def train_words(row: Row) -> str:
    """The training set; of somebody else's model only the imbalance is known."""
    if row.train_profile is None or row.train_rule is None:
        return "natural" if row.train_imbalance is None else f"imbalance {row.train_imbalance:g}"
    return in_words(row.train_imbalance, row.train_profile, row.train_rule, row.train_subset_seed or 0)


def recipe_words(row: Row) -> str:
    """The recipe; how the checkpoint was chosen and the precision of its evidence, where not the usual ones."""
    parts = [named_recipe(row.recipe)]
    if row.selection != "last":
        parts.append(f"checkpoints chosen {row.selection}")
    if row.evidence_precision not in (None, "fp32"):
        parts.append(f"evidence in {row.evidence_precision}")
    return ", ".join(parts)


def named_recipe(recipe: str | None) -> str:
    """`recipe quick`; somebody else's model has none."""
    return "somebody else's model" if recipe is None else f"recipe {recipe}"
