"""A shift drawn from a dataset: training set, labelled source, test set; their export; their options."""
