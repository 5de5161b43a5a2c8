"""Which images: datasets by name, pools, list files, exported sets."""
