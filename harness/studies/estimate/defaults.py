"""What `harness.estimate` takes where nothing is named."""

METHODS = ("balanced_softmax", "sade", "balpoe")


SHIFTS = ("dirichlet-0.1", "dirichlet-1", "shuffled_lt-50")


ADAPTERS = (
    "mean",
    "sade",
    "em",
    "map_em",
    "em_bcts:bias=false",
    "em_bcts",
    "eb_em",
    "bbse:kind=hard",
    "bbse",
    "rlls:kind=hard",
    "rlls",
)
"""Adapters with an estimate; `mean` stands for none: the prior that the mean of expert logits answers for."""
