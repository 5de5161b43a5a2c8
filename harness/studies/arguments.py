"""Arguments that the commands of studies share."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.run import add_names_argument, check_evidence
from methods.cli import add_training_arguments
from shifts.cli import Parser, add_data_arguments, add_shift_arguments, whole


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
    add_names_argument(group)


def parsed(parser: Parser, arguments: Sequence[str] | None, methods: Sequence[str]) -> argparse.Namespace:
    """The arguments, with default methods. Raises BadInput for what is about our models beside `--evidence`."""
    options = parser.parse_args(arguments)
    check_evidence(parser, options)
    options.methods = options.methods or list(methods)
    return options
