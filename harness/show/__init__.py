"""How one thing looks in text or ink: shifts, settings, cells, tables, curves. No page, no results folder."""
