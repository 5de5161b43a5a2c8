"""The console command `tailshift`, and `python -m harness`: one verb for each command of the three packages."""

import os
import runpy
import sys

from shifts.common.errors import BadInput, check_name

VERBS = {
    "run": ("harness.run", "train what is missing, adapt, measure, and print a leaderboard"),
    "describe": ("shifts.describe", "look at a dataset and its test sets before a training"),
    "train": ("methods.train", "train methods and nothing else"),
    "collect": ("harness.collect", "write the evidence of your own model"),
    "apply": ("harness.apply", "answer for unlabelled images, adapted, and say whether to trust it"),
    "answer": ("harness.answer", "say what to choose, from stored rows"),
    "report": ("harness.report", "write a page, Markdown and figures, from stored rows"),
    "sweep": ("harness.sweep", "try preferences over experts on every shift"),
    "route": ("harness.route", "measure accuracy against cost of RIDE's gates"),
    "estimate": ("harness.estimate", "compare estimated test priors with the true ones"),
    "why": ("harness.why", "explain by bias and variance, view stability and a risk bound"),
    "export": ("harness.export", "write rows for other programs"),
    "check": ("harness.check", "check stored rows of anybody"),
    "leaderboard": ("harness.leaderboard", "rebuild or pack stored rows"),
    "zoo": ("methods.zoo", "pack checkpoints for --pretrained"),
}
"""Verb -> the module that `python -m` would run, and what it does."""


def overview() -> str:
    """Return the help text: every verb with one line."""
    width = max(map(len, VERBS))
    lines = [f"  {verb.ljust(width)}  {does}" for verb, (_, does) in VERBS.items()]
    end = "tailshift VERB --help shows a verb's options."
    return "\n".join(["usage: tailshift VERB [OPTIONS]", "", *lines, "", end])


def main() -> None:
    """Run the verb that the command line names, as `python -m` would; an unknown one ends with status 2."""
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("-h", "--help"):
        try:
            print(overview(), flush=True)
        except BrokenPipeError:  # the reader went away (`| head`): nothing is left to flush at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    try:
        module, _ = VERBS[check_name("verb", verb, VERBS)]
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"{sys.argv[0]} {verb}", *sys.argv[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
