"""Which labels, which images."""
