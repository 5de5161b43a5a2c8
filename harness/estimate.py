"""`python -m harness.estimate`: how far estimated test priors are from the truth, over many test sets."""

import sys
from collections.abc import Sequence

from harness.session.arguments import add_study_arguments, parsed
from harness.studies.estimate.defaults import ADAPTERS
from shifts.common.command import Parser, command, whole
from shifts.common.requests import request_of

EXAMPLES = """\
  python -m harness.estimate                                 # 20 sets each of dirichlet-0.1, dirichlet-1, shuffled_lt
  python -m harness.estimate --shift dirichlet-0.1 --trials 100 --set-size 10000 --methods sade balpoe
  python -m harness.estimate --adapters em em_bcts em_bcts:bias=false --shift backward_lt-50
  python -m harness.estimate --evidence my-model.safetensors
  python -m harness.estimate --dry-run
"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Estimate what is asked for; returns the exit status."""
    options = parsed(parser(), arguments)
    if options.shift_list and options.shift is None:  # a list stands instead of the default shifts
        options.shift = []
    from harness.studies.estimate.study import EstimateRequest
    from harness.studies.estimate.text import render

    study = request_of(EstimateRequest, options).session(decode=not options.dry_run)
    if options.dry_run:
        print(study.forecast())
        return 0
    study.work()
    print(study.said(render(study.estimated(), [str(shift) for shift in study.shifts])))
    return 0


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "python -m harness.estimate",
        "Errors of estimated test priors. For every shift, test sets of a given size are drawn from the pool with "
        "replacement; each adapter sees their images, and its estimate is compared with the truth. Shifts with a seed "
        "(dirichlet, shuffled_lt; these by default) have another prior in each set.",
        EXAMPLES,
    )
    add_study_arguments(made)
    group = made.add_argument_group("test sets")
    group.add_argument(
        "--adapters", nargs="+", metavar="NAME", default=list(ADAPTERS), help="adapters (default: all that estimate)"
    )
    group.add_argument("--trials", type=whole(1), default=20, metavar="N", help="test sets a shift (default: 20)")
    group.add_argument("--set-size", type=whole(1), default=10_000, metavar="N", help="images of each (default: 10000)")
    return made


if __name__ == "__main__":
    sys.exit(main(None))
