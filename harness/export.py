"""`python -m harness.export`: stored rows as CSV, as Hugging Face evaluation results, or the papers behind them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.board.exports import csv_text, hub_files, hub_id_of
from harness.records import label_rows
from harness.records.rows import load_all
from shifts.common.errors import BadInput
from shifts.common.files import write_text

FORMATS = ("hf-yaml", "csv", "bibtex")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the export."""
    from shifts.common.command import Parser
    from shifts.images.reading.hub import is_hub_id

    parser = Parser(
        "python -m harness.export",
        "Stored rows as Hugging Face evaluation results, as CSV, or their papers.",
        EXAMPLES,
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="the results folder")
    parser.add_argument("--format", choices=FORMATS, required=True, help="hf-yaml: a folder; csv, bibtex: a file")
    parser.add_argument("--output", type=Path, required=True, metavar="PATH", help="the folder or file to write")
    parser.add_argument("--hub-dataset", metavar="OWNER/NAME", help="hf-yaml: the test data's id on the Hub")
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        raise BadInput(f"there is no results folder {options.results}")
    if options.hub_dataset is not None and not is_hub_id(options.hub_dataset):
        raise BadInput(f"--hub-dataset {options.hub_dataset!r} is not of the form OWNER/NAME")
    if options.hub_dataset is not None and options.format != "hf-yaml":
        raise BadInput("--hub-dataset goes with --format hf-yaml")
    as_file = options.format != "hf-yaml"
    if options.output.exists() and options.output.is_dir() == as_file:
        raise BadInput(f"--output {options.output} must be a {'file' if as_file else 'folder'} for {options.format}")
    found = load_all(options.results)
    if options.format == "bibtex":
        _bibtex([*found, *label_rows.load_all(options.results)], options.results, options.output)
        return
    if not found:
        raise BadInput(f"{options.results} holds no rows; python -m harness.run makes them")
    if as_file:
        write_text(options.output, csv_text(found))
        print(f"{options.output}: {len(found)} rows")
        return
    files = hub_files(found, options.hub_dataset)
    for name, text in files.items():
        write_text(options.output / name, text)
    print(f"{options.output}: {sum(name.endswith('README.md') for name in files)} model cards")
    if options.hub_dataset is None:
        nameless = sorted(dataset for dataset in {row.dataset for row in found} if hub_id_of(dataset) is None)
        if nameless:
            print(f"no .eval_results for {', '.join(nameless)}, not on the Hub (--hub-dataset names test data there)")


def _bibtex(found: Sequence[Any], results: Path, output: Path) -> None:
    """Write the papers behind rows. Raises BadInput where there are none."""
    from harness.citing.bibliography import bibliography

    if not found:
        raise BadInput(f"{results} holds no rows; python -m harness.run makes them")
    made = bibliography(found)
    write_text(output, made.text())
    print(f"{output}: {len(made.papers)} papers behind {len(found)} rows")
    if made.unknown:
        print(f"no paper is named by: {', '.join(made.unknown)}")


EXAMPLES = """\
  python -m harness.export --results results/reference --format csv --output rows.csv
  python -m harness.export --results results/reference --format bibtex --output papers.bib
  python -m harness.export --results results/reference --format hf-yaml --output hub
  python -m harness.export --format hf-yaml --hub-dataset OWNER/NAME --output hub
"""


if __name__ == "__main__":
    from shifts.common.command import command

    sys.exit(command(main)(None))
