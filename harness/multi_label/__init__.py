"""Label sets: what is measured, stored and shown of models that give an image several labels."""
