"""What adapters are built from: their contract, priors, calibration, confusion, streams."""
