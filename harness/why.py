"""`python -m harness.why`: bias and variance, view stability beside learned weights, and a risk bound's ranking."""

import sys
from collections.abc import Sequence

from harness.session.arguments import add_names_argument
from methods.jobs.arguments import add_training_arguments
from shifts.common.command import Parser, command
from shifts.common.errors import BadInput
from shifts.common.requests import request_of
from shifts.sets.arguments import add_data_arguments, seed

EXAMPLES = """\
  python -m harness.why --dry-run                            # what would be trained, and its cost
  python -m harness.why --methods softmax ldam_drw ride      # trains what is missing of 5 draws x 2 seeds each
  python -m harness.why --train-subset-seed 0 1 2 --seeds 0  # three models a method
  python -m harness.why --stored --results results/reference # from stored rows alone: no training, no images
"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Train and ask what is missing, store the findings, print what they say; returns the exit status."""
    options = parser().parse_args(arguments)
    from harness.studies.why.text import report, store_findings

    if options.stored and options.dry_run:
        raise BadInput("--dry-run shows what would be trained, and --stored trains nothing: give one of them")
    if not options.stored:
        from harness.studies.why.replicates import WhyRequest

        options.draws, options.train_subset_seed = options.train_subset_seed, None
        replicates = request_of(WhyRequest, options).session(decode=not options.dry_run)
        if options.dry_run:
            print(replicates.forecast())
            return 0
        try:
            replicates.work()
        finally:
            store_findings(options.results)
        for note in replicates.notes:
            print(f"note: {note}")
    print(report(options.results))
    return 0


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "python -m harness.why",
        "Why methods differ. Bias and variance of the 0-1 loss and the hardest negative's confidence by shot group,\n"
        "over models of several training draws and seeds (trained where missing); each expert's view stability beside\n"
        "SADE's learned weights, and the risk bound's ranking of methods, from stored rows (python -m harness.run).",
        EXAMPLES,
    )
    add_data_arguments(made)
    add_training_arguments(made)
    made.conflict_handler = "resolve"
    group = made.add_argument_group("models of a method")
    group.add_argument(
        "--train-subset-seed",
        nargs="+",
        type=seed,
        default=[0, 1, 2, 3, 4],
        metavar="SEED",
        help="seeds of the training draws (default: 0 1 2 3 4)",
    )
    group.add_argument(
        "--seeds", nargs="+", type=seed, default=[0, 1], metavar="SEED", help="train seeds (default: 0 1)"
    )
    group = made.add_argument_group("what to do")
    group.add_argument("--dry-run", action="store_true", help="show what would be trained, and what is done already")
    add_names_argument(group)
    group.add_argument("--stored", action="store_true", help="train nothing: say what stored rows and findings say")
    return made


if __name__ == "__main__":
    sys.exit(main(None))
