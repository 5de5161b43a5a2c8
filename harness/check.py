"""`python -m harness.check`: whether somebody's stored rows hold, what is at fault, and what cannot be told."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from shifts.common.command import Parser, add_list_argument, command
from shifts.common.errors import BadInput

EXAMPLES = """\
  python -m harness.check results/reference                            # rows of the embedded data, drawn again
  python -m harness.check results/reference --data-dir cifar100=DIR    # and those of CIFAR-100
  python -m harness.check FOLDER --evidence theirs.safetensors         # of a model whose evidence is at hand
  python -m harness.check FOLDER --output check.md                     # to paste into a pull request
  python -m harness.check FOLDER --dry-run                             # what can be checked here, and what not
  python -m harness.check --list
"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Check a folder of rows and print what came of it; returns 0 where nothing is at fault, else 1."""
    options = parser().parse_args(arguments)
    if not options.folder.is_dir():
        raise BadInput(f"there is no results folder {options.folder}")
    if options.output is not None and options.output.is_dir():
        raise BadInput(f"--output {options.output} is a folder; give a file")
    folders = _folders(options.data_dir)
    missing = next((file for file in options.evidence if not file.is_file()), None)
    if missing is not None:
        raise BadInput(f"--evidence {missing} is no file")

    from harness.checking import report
    from harness.checking.data import AtHand
    from harness.checking.examine import examine
    from harness.checking.stored import files
    from shifts.common.files import write_text

    if not files(options.folder):
        raise BadInput(f"{options.folder} holds no rows (rows/, rows-*.parquet)")
    at_hand = AtHand(folders, options.evidence)
    if options.dry_run:
        print(report.plan(options.folder, at_hand))
        return 0
    examined = examine(options.folder, at_hand)
    print(report.terminal(examined, min(shutil.get_terminal_size().columns, 100)))
    if options.output is not None:
        write_text(options.output, report.markdown(examined))
        print(options.output)
    for line in report.fault_lines(examined.findings):
        print(f"fault: {line}", file=sys.stderr)
    return 0 if examined.findings.sound else 1


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "python -m harness.check",
        "Check stored rows of anybody: figures computed again from what each row holds, test sets drawn again where\n"
        "the data are at hand, rows held against each other. Exit status 1 where anything is at fault.",
        EXAMPLES,
    )
    made.add_argument("folder", type=Path, metavar="FOLDER", help="a results folder, or one of packed rows")
    made.add_argument(
        "--data-dir",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="a local copy of the data that rows call NAME, such as cifar100=DIR (embedded data are always at hand)",
    )
    made.add_argument(
        "--evidence", action="append", default=[], type=Path, metavar="FILE", help="the evidence file that rows are of"
    )
    made.add_argument("--output", type=Path, metavar="FILE", help="write a report in Markdown there")
    made.add_argument("--dry-run", action="store_true", help="say which data are at hand, and check nothing")
    add_list_argument(made, _checks, "list the checks")
    return made


def _folders(given: Sequence[str]) -> dict[str, Path]:
    """Return dataset -> local copy. Raises BadInput for what is not NAME=DIR, or is given twice."""
    folders: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not name or not Path(folder).is_dir():
            raise BadInput(f"--data-dir {text!r} is not of the form NAME=DIR with a folder that is there")
        if name in folders:
            raise BadInput(f"--data-dir gives {name} twice")
        folders[name] = Path(folder)
    return folders


def _checks() -> str:
    from harness.checking.findings import CHECKS

    width = max(map(len, CHECKS))
    return "\n".join(f"{name.ljust(width)}  {about}" for name, about in CHECKS.items())


if __name__ == "__main__":
    sys.exit(main(None))
