"""`python -m harness.run`: train what is missing, gather evidence once, adapt, measure, print a leaderboard."""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.session.arguments import add_names_argument, parsed
from methods.jobs.arguments import add_training_arguments
from shifts.common.command import Parser, command, whole
from shifts.common.errors import BadInput
from shifts.common.requests import request_of
from shifts.sets.arguments import add_data_arguments, add_shift_arguments

if TYPE_CHECKING:
    from harness.board.schema import Entry, LabelEntry

EXAMPLES = """\
  python -m harness.run --shift backward_lt --imbalance 50
  python -m harness.run --shift all --seeds 0 1 2
  python -m harness.run --shift forward_lt backward_lt --imbalance 2 5 10 25 50 --methods sade ride:experts=4
  python -m harness.run --dataset cifar100 --recipe published --shift all --device cuda
  python -m harness.run --dataset cifar100 --data-dir FOLDER --recipe published-x0.1 --adapters mean sade em
  python -m harness.run --dataset cifar100 --recipe published-bf16 --methods sade --shift all --pretrained
  python -m harness.run --evidence my-model.safetensors --shift all shuffled_lt-50-s3 dirichlet-0.1-s7
  python -m harness.run --shift all --seeds 0 1 2 --dry-run --jobs | tr '\\n' '\\0' | xargs -0 -P 2 -n 1 sh -c
  python -m harness.run --dataset embedded_mosaics --shift forward_lt uniform backward_lt --methods bce ltml
  python -m harness.run --list
"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the main job; returns the exit status."""
    options = parsed(parser(), arguments)
    if options.jobs and not options.dry_run:
        raise BadInput("--jobs prints training commands and goes with --dry-run")
    from harness.session.run import RunRequest

    session = request_of(RunRequest, options).session(decode=not options.dry_run)
    if options.dry_run:
        print(session.commands() if options.jobs else session.forecast())
        return 0
    session.work()
    print(session.report(options.top))
    if not options.no_page:
        from harness.pages.of_run import told

        print(told(session.results), flush=True)
    return 0


@dataclass(frozen=True)
class Answer:
    """What `ask` found: entries of the leaderboard, the table of them, and the notes that stand above it."""

    entries: "list[Entry] | list[LabelEntry]"
    table: str
    notes: list[str]


def ask(**options: object) -> Answer:
    """Run the main job from a program and return what it found.

    options: those of the command by their names, `data_dir` for `--data-dir`; a list for several values, True for a
    flag, None for the default. They are checked as the command's are. Raises BadInput and WorkFailed.
    """
    options = {name: value for name, value in options.items() if value is not None}
    words = list(itertools.chain.from_iterable(_words(name, value) for name, value in options.items()))
    found = parsed(parser(), words)
    if found.dry_run:
        raise BadInput("dry_run: ask() does the work; a plan is printed by the command")
    from harness.session.run import RunRequest

    session = request_of(RunRequest, found).session()
    session.work()
    entries = session.entries()
    return Answer(entries, session.table(entries, found.top, None), session.notes)


def _words(name: str, value: object) -> list[str]:
    """Return the words of a command line that say the same."""
    option = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [option] if value else []
    return [option, *map(str, value if isinstance(value, list | tuple) else [value])]


def parser() -> Parser:
    """Make the command's arguments."""
    made = Parser(
        "python -m harness.run", "Long-tailed recognition under test-time label shift: the main job.", EXAMPLES
    )
    add_data_arguments(made)
    add_shift_arguments(made)
    add_training_arguments(made)
    group = made.add_argument_group("adapting and measuring")
    group.add_argument(
        "--adapters",
        nargs="+",
        metavar="NAME",
        help="ways to use unlabelled test data; all: every one (default: all that are quick)",
    )
    group.add_argument(
        "--evidence", type=Path, metavar="FILE", help="evaluate somebody else's model: expert logits of a test pool"
    )
    group.add_argument("--views", type=whole(0), default=3, metavar="K", help="view pairs a test image (default: 3)")
    group.add_argument(
        "--evidence-precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="of the forward passes over the test pool (default: fp32)",
    )
    group.add_argument(
        "--features",
        action="store_true",
        help="store features and classifiers too, for adapters that move the last layer",
    )
    group.add_argument("--redraws", type=whole(0), default=10, metavar="N", help="further draws (default: 10)")
    group.add_argument(
        "--top", type=whole(0), default=8, metavar="N", help="lines of each block of the table; 0 = all (default: 8)"
    )
    group.add_argument("--no-page", action="store_true", help="do not make the page of the results folder")
    group = made.add_argument_group("what to do")
    group.add_argument("--dry-run", action="store_true", help="show what would be done, and what is done already")
    group.add_argument("--jobs", action="store_true", help="with --dry-run: one training command per line")
    add_names_argument(group)
    return made


if __name__ == "__main__":
    sys.exit(main(None))
