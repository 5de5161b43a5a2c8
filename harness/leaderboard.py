"""`python -m harness.leaderboard`: rebuild the leaderboard from stored rows, or pack the rows."""

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.board.build import write
from harness.records import label_rows, rows
from shifts.common.errors import BadInput


def main(arguments: Sequence[str] | None = None) -> None:
    """Rebuild the leaderboard, and pack the rows where asked."""
    from shifts.common.command import Parser

    parser = Parser("python -m harness.leaderboard", "Rebuild leaderboard.json from stored rows.", EXAMPLES)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="the results folder")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="write rows as Parquet and the leaderboard there")
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        raise BadInput(f"there is no results folder {options.results}")
    print(write(options.results, checked=True))
    if options.pack:
        found = rows.load_all(options.results)
        files = rows.pack(found, options.pack) + label_rows.pack(label_rows.load_all(options.results), options.pack)
        for file in [*files, write(options.pack, checked=True)]:
            print(file)


EXAMPLES = """\
  python -m harness.leaderboard
  python -m harness.leaderboard --results results --pack results/reference
"""


if __name__ == "__main__":
    from shifts.common.command import command

    sys.exit(command(main)(None))
