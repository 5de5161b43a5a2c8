"""What `harness.sweep` takes where nothing is named."""

CONTROLS = ("sade", "balpoe", "balanced_softmax")


METHODS = ("prl", *CONTROLS)
"""The hypernetwork, and the controls without one: weighted expert logits, one network under logit adjustment."""
