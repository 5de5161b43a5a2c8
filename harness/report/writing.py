"""The report's files: figures, Markdown and, last, the page that a reader opens."""

from pathlib import Path

from harness.report import markdown, page, plot
from harness.report.parts import Report
from shifts.files import atomic, write_text


def write(report: Report, output: Path) -> Path:
    """Write `figures/*.png`, `figures/*.svg`, `report.md` and `index.html` under `output`; returns the page's path."""
    documents = {}
    for section in report.sections:
        for picture in section.pictures:
            name = markdown.file_name(picture.name)
            documents[picture.name] = plot.svg(picture)
            write_text(output / "figures" / f"{name}.svg", documents[picture.name])
            with atomic(output / "figures" / f"{name}.png") as temporary:
                plot.png(picture, temporary)
    write_text(output / "report.md", markdown.render(report))
    write_text(output / "index.html", page.render(report, documents))
    return output / "index.html"
