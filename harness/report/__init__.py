"""The report: tables, figures and one page, from stored results alone."""
