"""Rows as files: one mechanism, three kinds of row."""
