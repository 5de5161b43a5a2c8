"""`python -m harness.report`: tables, figures and one page from stored rows alone."""

import sys
from collections.abc import Sequence
from pathlib import Path

from shifts.common.command import Parser, command
from shifts.common.errors import BadInput

EXAMPLES = """\
  python -m harness.report                                             # results/rows -> results/report/index.html
  python -m harness.report --results results/reference --output report # somebody else's rows, no training
  python -m harness.report --results results/reference --picture docs/shifts.svg   # the README's figure alone
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report of a results folder, print the answer and where the files are. Raises BadInput, WorkFailed."""
    parser = Parser(
        "python -m harness.report",
        "Answer, tables and figures of a results folder: a page, Markdown, and figures as PNG and SVG.",
        EXAMPLES,
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: the folder `report` in the results folder")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="write only one figure of SADE on every shift, as SVG"
    )
    parser.add_argument(
        "--cards", type=Path, metavar="DIR", help="write only a card of each method and adapter, as Markdown"
    )
    options = parser.parse_args(arguments)
    output = options.output or options.results / "report"
    if not options.results.is_dir():
        raise BadInput(f"there is no results folder {options.results}")
    if output.exists() and not output.is_dir():
        raise BadInput(f"--output {output} is a file; give a folder")

    from harness.pages import cards, overview, terminal, writing
    from harness.pages.blocks import blocks
    from harness.pages.parts import gather
    from harness.records import rows

    if options.cards is not None:
        print("\n".join(map(str, cards.write(rows.load_all(options.results), options.cards))))
        return
    if options.picture is not None:
        print(overview.write(blocks(rows.load_all(options.results)), options.picture))
        return
    report = gather(options.results, rows.load_all(options.results))
    if report.empty:
        raise BadInput(f"{options.results} holds no rows (rows/, rows-*.parquet); python -m harness.run makes them")
    page = writing.write(report, output)
    print("\n\n".join(text for text in (terminal.render(report), str(page)) if text))


if __name__ == "__main__":
    sys.exit(main(None))
