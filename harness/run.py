"""`python -m harness.run`: train what is missing, gather evidence once, adapt, measure, print a leaderboard."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from methods.cli import add_together_argument, add_training_arguments
from shifts.cli import Parser, add_data_arguments, add_list_argument, add_shift_arguments, command, whole
from shifts.errors import BadInput

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

OURS = [
    "dataset",
    "data_dir",
    "image_column",
    "label_column",
    "ids",
    "train_imbalance",
    "profile",
    "draw_rule",
    "train_subset_seed",
    "methods",
    "recipe",
    "seeds",
    "accumulate",
    "sync_bn",
    "pretrained",
    "cuda_graphs",
    "together",
    "views",
    "evidence_precision",
    "jobs",
]
"""Options that mean nothing for a stranger's evidence, and are refused beside it."""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the main job; returns the exit status."""
    made = parser()
    options = made.parse_args(arguments)
    if options.jobs and not options.dry_run:
        raise BadInput("--jobs prints training commands and goes with --dry-run")
    check_evidence(made, options)
    from harness.session import session_of

    session = session_of(options)
    if options.dry_run:
        print(session.commands() if options.jobs else session.forecast())
        return 0
    session.work()
    print(session.report())
    return 0


def check_evidence(made: Parser, options: argparse.Namespace) -> None:
    """Raise BadInput for an option about our own models beside `--evidence`."""
    if options.evidence:
        for name in OURS:
            if getattr(options, name, None) != made.get_default(name):
                raise BadInput(f"--{name.replace('_', '-')} is about our own models and does not go with --evidence")


def add_names_argument(group: argparse._ActionsContainer) -> None:
    """`--list`: everything that a command line of this package can name."""

    def listing() -> str:
        from harness.listing import listing

        return listing()

    add_list_argument(group, listing, "datasets, methods, adapters, shifts, recipes")


def parser() -> Parser:
    """The command's arguments."""
    made = Parser(
        "python -m harness.run", "Long-tailed recognition under test-time label shift: the main job.", EXAMPLES
    )
    add_data_arguments(made)
    add_shift_arguments(made)
    add_training_arguments(made)
    add_together_argument(made)
    group = made.add_argument_group("adapting and measuring")
    group.add_argument("--adapters", nargs="+", metavar="NAME", help="ways to use unlabelled test data (default: all)")
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
    group.add_argument("--redraws", type=whole(0), default=10, metavar="N", help="further draws (default: 10)")
    group.add_argument(
        "--top", type=whole(0), default=8, metavar="N", help="lines of each block of the table; 0 = all (default: 8)"
    )
    group = made.add_argument_group("what to do")
    group.add_argument("--dry-run", action="store_true", help="show what would be done, and what is done already")
    group.add_argument("--jobs", action="store_true", help="with --dry-run: one training command per line")
    add_names_argument(group)
    return made


if __name__ == "__main__":
    sys.exit(main(None))
