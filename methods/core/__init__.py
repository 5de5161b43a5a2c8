"""What a method is: batch, stage, recipe, options. No network, no loop."""
