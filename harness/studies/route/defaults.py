"""What `harness.route` takes where nothing is named."""

METHODS = ("ride", "ride_distilled")

THRESHOLDS = (0.0, 0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 0.99, 0.999, 1.0)
"""Probabilities above which an image goes on: 0 runs all experts, 1 the first alone."""
