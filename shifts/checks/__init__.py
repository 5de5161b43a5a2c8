"""The check-up of a dataset: every image looked at once before a long training."""
