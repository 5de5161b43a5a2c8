"""`python -m harness.leaderboard`: rebuild the leaderboard from stored rows, pack the rows, join rows of others."""

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.board.build import write
from harness.board.merge import merged
from harness.records import label_rows, rows
from shifts.common.errors import BadInput


def main(arguments: Sequence[str] | None = None) -> None:
    """Rebuild the leaderboard, pack the rows where asked, and join rows of others. Raises BadInput, WorkFailed."""
    from shifts.common.command import Parser

    parser = Parser("python -m harness.leaderboard", "Rebuild leaderboard.json from stored rows.", EXAMPLES)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="the results folder")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="write rows as Parquet and the leaderboard there")
    parser.add_argument(
        "--merge",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="join the rows of these folders with those of --results; written to --pack, --results stays as it is",
    )
    options = parser.parse_args(arguments)
    for folder in (options.results, *(options.merge or ())):
        if not folder.is_dir():
            raise BadInput(f"there is no results folder {folder}")
    if options.merge:
        if options.pack is None:
            raise BadInput("--merge needs --pack DIR, where the joined rows are written")
        _merge([options.results, *options.merge], options.pack)
        return
    print(write(options.results, checked=True))
    if options.pack:
        found = rows.load_all(options.results)
        files = rows.pack(found, options.pack) + label_rows.pack(label_rows.load_all(options.results), options.pack)
        for file in [*files, write(options.pack, checked=True)]:
            print(file)


def _merge(folders: Sequence[Path], destination: Path) -> None:
    """Join the rows of folders in another one, with a leaderboard of all. Raises BadInput, with nothing written."""
    joined = merged(folders)
    for folder, new, known in joined.taken:
        print(f"{folder}: {new:,} rows, {known:,} more that were there before")
    written = rows.pack(joined.single, destination) + label_rows.pack(joined.multi, destination)
    for file in [*written, write(destination, checked=True)]:
        print(file)


EXAMPLES = """\
  python -m harness.leaderboard
  python -m harness.leaderboard --results results --pack results/reference
  python -m harness.leaderboard --results results/reference --merge theirs --pack joined
"""


if __name__ == "__main__":
    from shifts.common.command import command

    sys.exit(command(main)(None))
