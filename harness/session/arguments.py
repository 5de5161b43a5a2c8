"""Arguments that several commands share."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from methods.jobs.arguments import add_training_arguments
from methods.jobs.request import TrainingRequest
from shifts.common.command import Parser, add_list_argument, whole
from shifts.common.errors import BadInput
from shifts.common.requests import option_names
from shifts.sets.arguments import add_data_arguments, add_shift_arguments


def add_study_arguments(parser: Parser) -> None:
    """Add the arguments for data, shifts, training, somebody else's evidence, view pairs and `--dry-run`."""
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


def parsed(parser: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options. Raises BadInput for what is about our models beside `--evidence`."""
    options = parser.parse_args(arguments)
    check_evidence(parser, options)
    return options


STRANGERS = ("device", "results", "workers", "engine", "scheduler")
"""Options of a training request that mean something beside a stranger's evidence."""
OURS = [name for name in option_names(TrainingRequest) if name not in STRANGERS]
OURS += ["views", "evidence_precision", "features", "jobs"]
"""Options that mean nothing for a stranger's evidence, and are refused beside it."""


def check_evidence(made: Parser, options: argparse.Namespace) -> None:
    """Raise BadInput for an option about our own models beside `--evidence`."""
    if options.evidence:
        for name in OURS:
            if getattr(options, name, None) != made.get_default(name):
                raise BadInput(f"--{name.replace('_', '-')} is about our own models and does not go with --evidence")


def add_names_argument(group: argparse._ActionsContainer) -> None:
    """Add `--list`: everything that a command line of this package can name."""

    def listing() -> str:
        from harness.session.listing import listing

        return listing()

    add_list_argument(group, listing, "datasets, methods, adapters, shifts, recipes")
