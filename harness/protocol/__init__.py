"""An adapter on a draw: order of arrival, fit, predict, measured fields."""
