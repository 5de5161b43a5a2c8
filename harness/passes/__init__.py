"""From a model and images to evidence: the forward passes."""
