"""From predictions and labels to figures."""
