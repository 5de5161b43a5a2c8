"""Which labels and images: datasets, long-tailed training sets, shifted test sets, distances."""
