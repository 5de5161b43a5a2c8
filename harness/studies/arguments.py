"""Arguments that the commands of studies share."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.run import OURS
from methods.cli import add_training_arguments
from shifts.cli import Parser, add_data_arguments, add_shift_arguments
from shifts.errors import BadInput


def add_study_arguments(parser: Parser) -> None:
    """Data, shifts, training, somebody else's evidence, view pairs and `--dry-run`."""
    add_data_arguments(parser)
    add_shift_arguments(parser)
    add_training_arguments(parser)
    group = parser.add_argument_group("what to do")
    group.add_argument(
        "--evidence", type=Path, metavar="FILE", help="study somebody else's model: expert logits of a test pool"
    )
    group.add_argument("--views", type=whole(0), default=3, metavar="K", help="view pairs a test image (default: 3)")
    group.add_argument("--dry-run", action="store_true", help="show what would be done, and what is done already")


def parsed(parser: Parser, arguments: Sequence[str] | None, methods: Sequence[str]) -> argparse.Namespace:
    """The arguments, with default methods. Raises BadInput for what is about our models beside `--evidence`."""
    options = parser.parse_args(arguments)
    if options.evidence:
        for name in OURS:
            if getattr(options, name, None) != parser.get_default(name):
                raise BadInput(f"--{name.replace('_', '-')} is about our own models and does not go with --evidence")
    options.methods = options.methods or list(methods)
    return options


def whole(least: int) -> Callable[[str], int]:
    """A parser of whole numbers from `least` on."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= {least}")
        return int(text)

    return parse
