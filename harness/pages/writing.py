"""The report's files: figures, Markdown and, last, the page."""

from pathlib import Path

from harness.pages import markdown, page
from harness.pages.parts import Report
from harness.show.drawing import drawn
from shifts.common.files import atomic, file_name, write_text


def write(report: Report, output: Path) -> Path:
    """Write `figures/*.png`, `figures/*.svg`, `report.md` and `index.html` under `output`; return the page's path."""
    drawings = {}
    for section in report.sections:
        for picture in section.pictures:
            name = file_name(picture.name)
            drawings[picture.name] = drawn(picture)
            write_text(output / "figures" / f"{name}.svg", drawings[picture.name].svg)
            with atomic(output / "figures" / f"{name}.png") as temporary:
                temporary.write_bytes(drawings[picture.name].png)
    write_text(output / "report.md", markdown.render(report))
    write_text(output / "index.html", page.render(report, drawings))
    return output / "index.html"
