"""Runs of fields that several kinds of row share, in the order in which all of them have these."""

DATA = (
    "dataset",
    "train_fingerprint",
    "test_fingerprint",
    "test_split",
    "train_profile",
    "train_imbalance",
    "train_rule",
    "train_subset_seed",
    "train_n",
    "train_counts_sha256",
)
"""One dataset with one training set."""
RECIPE = ("recipe", "recipe_sha256", "epochs", "train_seed", "train_version", "checkpoint_sha256")
"""How a network was trained, and which one that gave."""
SHIFT = ("shift", "shift_kind", "shift_ratio", "shift_alpha", "shift_seed", "shift_rule", "shift_origin")
"""A test set's shift."""
