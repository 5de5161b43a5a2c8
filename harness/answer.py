"""`python -m harness.answer`: which method and adapter to choose, from stored rows."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.choice.text import render
from harness.records.rows import load_all
from shifts.common.errors import BadInput


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the answers of a results folder."""
    from shifts.common.command import Parser

    parser = Parser("python -m harness.answer", "Which method and adapter to choose, from stored rows.", EXAMPLES)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="the results folder")
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        raise BadInput(f"there is no results folder {options.results}")
    found = load_all(options.results)
    if not found:
        raise BadInput(f"{options.results} holds no rows; python -m harness.run makes them")
    print(render(found, min(shutil.get_terminal_size().columns, 100)))


EXAMPLES = """\
  python -m harness.answer
  python -m harness.answer --results results/reference
"""


if __name__ == "__main__":
    from shifts.common.command import command

    sys.exit(command(main)(None))
