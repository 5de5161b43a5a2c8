"""One folder a study, whole: defaults, rows, computation, text, report section."""
