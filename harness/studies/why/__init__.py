"""Why an ensemble is better: bias and variance, view stability, the risk bound."""
