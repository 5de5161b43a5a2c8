"""How an expert model is made: losses, networks, methods, recipes and the one training loop."""
