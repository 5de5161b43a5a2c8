"""`python -m harness.why`: bias and variance, view stability beside learned weights, and a risk bound's ranking."""

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from harness.report.section import Cell, Table
from harness.run import add_names_argument
from methods.cli import add_training_arguments
from shifts.cli import Parser, add_data_arguments, command, seed
from shifts.errors import BadInput

EXAMPLES = """\
  python -m harness.why --dry-run                            # what would be trained, and its cost
  python -m harness.why --methods softmax ldam_drw ride      # trains what is missing of 5 draws x 2 seeds each
  python -m harness.why --train-subset-seed 0 1 2 --seeds 0  # three models a method
  python -m harness.why --stored --results results/reference # from stored rows alone: no training, no images
"""
WIDTH = 100


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Train and ask what is missing, store the findings, print what they say; returns the exit status."""
    options = parser().parse_args(arguments)
    if options.stored and options.dry_run:
        raise BadInput("--dry-run shows what would be trained, and --stored trains nothing: give one of them")
    if not options.stored:
        from harness.studies.replicates import Replicates

        replicates = Replicates(options)
        if options.dry_run:
            print(replicates.forecast())
            return 0
        try:
            replicates.work()
        finally:
            _store(options.results)
        for note in replicates.notes:
            print(f"note: {note}")
    print(report(options.results))
    return 0


def parser() -> Parser:
    """The command's arguments."""
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


def report(results: Path) -> str:
    """Sentences and tables of all that is stored, for a terminal."""
    from harness.report.why import lead
    from harness.report.why_tables import gather, tables
    from harness.studies import findings

    stored = gather(results)
    if not stored:
        return f"nothing is stored under {results}: no rows (python -m harness.run) and no findings (without --stored)"
    texts = [as_text(table) for reasons in stored for table in tables(reasons)]
    end = f"findings: {findings.path(results)}" if findings.path(results).exists() else "no findings are stored"
    return "\n\n".join([*texts, "\n".join(wrap(lead(stored), WIDTH)), end])


def as_text(table: Table) -> str:
    """A table as aligned text under its caption, floats with three decimals, `-` for what there is none of.

    A table wider than WIDTH gets narrower gaps, then fewer decimals.
    """
    for digits, gap in ((3, 2), (3, 1), (2, 2), (2, 1)):
        lines = _aligned(table, digits, " " * gap)
        if max(map(len, lines)) <= WIDTH:
            break
    return "\n".join([*wrap(table.caption, WIDTH), *lines])


def _aligned(table: Table, digits: int, gap: str) -> list[str]:
    body = [[_text(cell, digits) for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(table.columns, *body, strict=True)]
    left = [all(isinstance(row[place], str) for row in table.rows) for place in range(len(widths))]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, left, strict=True)
        return gap.join(cell.ljust(width) if flush else cell.rjust(width) for cell, width, flush in cells).rstrip()

    return [line(table.columns), *map(line, body)]


def _text(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    return f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)


def _store(results: Path) -> None:
    """Findings of all stored answers; those of models that are done, also after a failure."""
    from harness.studies import answers, findings

    found = findings.of_answers(answers.load_all(results))
    if found:
        findings.store(findings.path(results), found)


if __name__ == "__main__":
    sys.exit(main(None))
