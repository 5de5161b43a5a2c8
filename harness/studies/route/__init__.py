"""RIDE's gates: accuracy against experts run."""
