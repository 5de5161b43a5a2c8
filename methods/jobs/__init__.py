"""A model as asked for: options, identity, forecast, trained alone, together or from the zoo."""
