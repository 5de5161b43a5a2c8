"""How an expert model is made."""
