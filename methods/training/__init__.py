"""The loop: epochs, one update, checkpoints."""
