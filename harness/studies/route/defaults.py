"""What `harness.route` takes where nothing is named."""

METHODS = ("ride", "ride_distilled")
