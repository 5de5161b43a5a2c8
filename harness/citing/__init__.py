"""The papers behind rows: which these are, and their bibliographic facts."""
