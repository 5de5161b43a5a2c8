"""Evidence of anybody's model, written as it comes: what `harness.collect` is made of."""
