"""`python -m harness.sweep`: every preference over experts on every shift, and what it takes to choose one."""

import argparse
import sys
from collections.abc import Sequence

from harness.session.arguments import add_study_arguments, parsed
from shifts.common.command import Parser, command
from shifts.common.requests import request_of

EXAMPLES = """\
  python -m harness.sweep --shift all --seeds 0 1 2
  python -m harness.sweep --shift backward_lt --imbalance 50 --step 0.05
  python -m harness.sweep --shift all --methods prl prl:variant=released sade balpoe balanced_softmax
  python -m harness.sweep --evidence my-model.safetensors --shift all
  python -m harness.sweep --shift all --seeds 0 1 2 --dry-run
"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep what is asked for; returns the exit status."""
    options = parsed(parser(), arguments)
    from harness.studies.sweep.study import SweepRequest
    from harness.studies.sweep.text import render

    study = request_of(SweepRequest, options).session(decode=not options.dry_run)
    if options.dry_run:
        print(study.forecast())
        return 0
    study.work()
    print(study.said(render(study.swept(), [str(shift) for shift in study.shifts])))
    return 0


def parser() -> Parser:
    """Return the command's arguments."""
    made = Parser(
        "python -m harness.sweep",
        "Preference sweep: a lattice of preferences over experts (forward, uniform, backward) on every shift, for a "
        "hypernetwork's heads (prl) and for the controls without one: the same preference as weights of expert "
        "logits (methods with several experts), and logit adjustment of one network.",
        EXAMPLES,
    )
    add_study_arguments(made)
    made.add_argument(
        "--step",
        dest="steps",
        type=_steps,
        default=10,
        metavar="STEP",
        help="step of the lattice: 0.1 = 66 preferences (default), 0.05 = 231, any 1/k; the centre is always added",
    )
    return made


def _steps(text: str) -> int:
    """Return the steps along an edge of the simplex."""
    try:
        step = float(text)
        steps = round(1 / step)
    except (ValueError, ZeroDivisionError, OverflowError):
        steps, step = 0, 0.0
    if not 2 <= steps <= 100 or abs(steps * step - 1) > 1e-9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a step 1/k with k in 2..100, such as 0.1 or 0.05")
    return steps


if __name__ == "__main__":
    sys.exit(main(None))
