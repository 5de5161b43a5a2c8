"""A run: models and tasks, what is missing, working it off."""
