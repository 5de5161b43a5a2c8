"""Which labels: a shift as a value, the counts it wants, the draw. No image, no dataset."""
