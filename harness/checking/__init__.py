"""Rows of somebody else: what holds, what does not, and what cannot be told from here."""
