"""`python -m harness.route`: accuracy against cost for every threshold of RIDE's gates, on every shift."""

import argparse
import sys
from collections.abc import Sequence

from harness.session.arguments import add_study_arguments, parsed
from shifts.common.command import Parser, command, whole
from shifts.common.requests import request_of

EXAMPLES = """\
  python -m harness.route --shift all --seeds 0 1 2
  python -m harness.route --shift backward_lt --imbalance 50 --thresholds 0.2 0.5 0.8
  python -m harness.route --shift forward_lt-50 uniform backward_lt-50 --measure --repeats 7
  python -m harness.route --evidence my-model.safetensors --shift all
  python -m harness.route --shift all --methods ride:experts=4 --dry-run
"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Study what is asked for; returns the exit status."""
    options = parsed(parser(), arguments)
    from harness.studies.route.study import MeasureRequest, RouteRequest
    from harness.studies.route.text import render, render_measured

    decode = not options.dry_run
    study = request_of(RouteRequest, options).session(decode)
    measured = request_of(MeasureRequest, options).session(decode) if options.measure else None
    studies = [study] if measured is None else [study, measured]
    if options.dry_run:
        print("\n".join(each.forecast() for each in studies))
        return 0
    for each in studies:
        each.work()
    print(study.said(render(study.routed(), [str(shift) for shift in study.shifts])))
    if measured is not None:
        print("\n" + measured.said(render_measured(measured.measured())))
    return 0


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "python -m harness.route",
        "Routing: gates decide for each image how many experts are run. For every threshold and shift: accuracy, mean "
        "experts, share of images that stop after each expert, multiply-accumulates (of the experts that were run).",
        EXAMPLES,
    )
    add_study_arguments(made)
    group = made.add_argument_group("routing")
    group.add_argument(
        "--thresholds",
        nargs="+",
        type=_threshold,
        metavar="P",
        help="probabilities above which an image goes on to the next expert (default: 17 from 0 to 1); the released "
        "code's 0.5 is always among them",
    )
    group.add_argument(
        "--measure", action="store_true", help="also time a run in which stopped images skip the later experts"
    )
    group.add_argument("--repeats", type=whole(1), default=5, metavar="N", help="timed repeats (default: 5)")
    return made


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability in 0..1")
    return value


if __name__ == "__main__":
    sys.exit(main(None))
