"""The report: blocks, order of the sections, HTML, Markdown, terminal."""
