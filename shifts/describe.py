"""`python -m shifts.describe`: a dataset's check-up, and class counts, sizes, distances and hashes of its shifts."""

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Int

from shifts.checks.checkup import CheckUp, check_up, sizes_of
from shifts.checks.facts import Facts
from shifts.common.command import Parser, command
from shifts.common.errors import BadInput
from shifts.common.requests import request_of
from shifts.images.catalog import Dataset
from shifts.images.reading.labelsets import co_occurrence
from shifts.labels.distance import total_variation
from shifts.labels.draw import indices_sha256
from shifts.labels.profiles import class_rank
from shifts.labels.selection import miss
from shifts.labels.shift import Shift
from shifts.sets.arguments import add_data_arguments, add_shift_arguments, seed
from shifts.sets.export import export
from shifts.sets.request import DataRequest, ShiftRequest
from shifts.sets.resolve import resolve
from shifts.sets.source import source_images
from shifts.sets.training import TrainingSet

EXAMPLES = """\
  python -m shifts.describe --dataset my-photos --strict
  python -m shifts.describe --shift all
  python -m shifts.describe --dataset cifar100 --shift forward_lt backward_lt --imbalance 2 5 10 25 50
  python -m shifts.describe --dataset cifar100 --data-dir FOLDER --shift shuffled_lt-50-s3 dirichlet-0.1-s7 --json
  python -m shifts.describe --dataset cifar100 --train-imbalance 100 --export cifar100-lt100 --with-source
"""


PAIRS = 8
"""Pairs of labels shown."""
NAMES = 6
"""Class names shown."""
WIDTH = 100
"""Columns of what is printed."""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table or JSON of the shifts asked for; write the export where one is asked for."""
    options = _parser().parse_args(arguments)
    if options.with_source and not options.export:
        raise BadInput("--with-source goes with --export")
    shifts, notes = request_of(ShiftRequest, options).shifts()
    data = request_of(DataRequest, options)
    dataset = data.load()
    found = check_up(dataset)
    training = data.training_set(dataset)
    drawn = _drawn(options, dataset, training, shifts, notes)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if options.json:
        reading = understood(dataset, found)
        told = [summary(dataset, training, shift, indices) | {"data": reading} for shift, indices, _ in drawn]
        print(json.dumps(told))
    else:
        _print_data(dataset, found)
        _print_table(dataset, training, drawn)
    odd = [note for note in found.notes if note.weight != "told"]
    if options.strict and odd:
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        raise BadInput(f"--strict: {odd[0].text}{more}")
    if options.export:
        wanted = options.with_source and dataset.task == "single_label"  # `export` refuses the others
        source = source_images(dataset, training) if wanted else None
        written = export(dataset, training, Path(options.export), source)
        text = f"{training.n:,} training and {len(dataset.test):,} test images, {written / 1e6:.1f} MB"
        print(f"exported to {options.export}: {text}", file=sys.stderr)


def _drawn(
    options: argparse.Namespace, dataset: Dataset, training: TrainingSet, shifts: Sequence[Shift], notes: list[str]
) -> list[tuple[Shift, Int[np.ndarray, " drawn"], str]]:
    """Draw the shifts: each with its indices and origin; `natural` where the pool cannot give the default one."""
    try:
        return [(shift, *resolve(dataset, shift, training.counts, options.seed)) for shift in shifts]
    except BadInput as error:
        if options.shift or options.shift_list or options.imbalance:
            raise
        notes.append(f"{shifts[0]} is not shown: {error}")
        natural = Shift("natural")
        return [(natural, *resolve(dataset, natural, training.counts, options.seed))]


def understood(dataset: Dataset, found: CheckUp) -> dict[str, object]:
    """Return a dataset's check-up as plain values: splits, where they came from, classes in order, notes."""
    splits = {"train": dataset.train, "test": dataset.test, "validation": dataset.validation}
    return {
        "dataset": dataset.name,
        "published": dataset.published,
        "labels_from": dataset.labels_from,
        "class_names": list(dataset.class_names),
        "splits": {
            role: {
                "split": images.split,
                "origin": dataset.origins.get(role, ""),
                "n": len(images),
                "counts": images.class_counts().tolist(),
                "sizes": sizes_of(found.facts[role]).tolist(),
                "modes": found.facts[role].summary.modes,
            }
            for role, images in splits.items()
            if images is not None
        },
        "notes": [asdict(note) for note in found.notes],
    }


def summary(
    dataset: Dataset, training: TrainingSet, shift: Shift, indices: Int[np.ndarray, " drawn"]
) -> dict[str, object]:
    """Describe one shift in plain values: canonical text, n, counts, TV(train, test), hash of the drawn indices.

    Of a multi-label dataset also `tv_wanted` (TV between the label marginals reached and those asked for, None where
    none are), `labels_per_image` and `co_occurrence` (images with both labels, [C, C]).
    """
    counts = class_counts(dataset, indices)
    told: dict[str, object] = {
        "shift": str(shift),
        "n": len(indices),
        "counts": counts.tolist(),
        "tv_train_test": total_variation(training.counts, counts),
        "indices_sha256": indices_sha256(indices),
    }
    if dataset.task == "multi_label":
        labels, rank = dataset.test.labels[indices], class_rank(training.counts, dataset.rank_by_index)
        told["tv_wanted"] = miss(labels, shift, rank)
        told["labels_per_image"] = float(labels.sum(axis=1).mean())
        told["co_occurrence"] = co_occurrence(labels).tolist()
    return told


def class_counts(dataset: Dataset, indices: Int[np.ndarray, " drawn"]) -> Int[np.ndarray, " classes"]:
    """Count the test images of each class (multi-label: with each label) in a drawn set, int64 [C]."""
    labels = dataset.test.labels[indices]
    if dataset.task == "multi_label":
        return labels.sum(axis=0, dtype=np.int64)
    return np.bincount(labels, minlength=dataset.classes)


def _parser() -> Parser:
    parser = Parser("python -m shifts.describe", str(__doc__).partition(": ")[2].capitalize(), EXAMPLES)
    add_data_arguments(parser)
    add_shift_arguments(parser)
    parser.add_argument("--seed", type=seed, default=0, help="seed of the test draws (default: 0, as published)")
    parser.add_argument("--json", action="store_true", help="print a list of objects instead of a table")
    parser.add_argument("--strict", action="store_true", help="refuse data with anything odd (exit status 2)")
    parser.add_argument(
        "--export",
        metavar="DIR",
        help="write the training set and the test pool there as a small local dataset",
    )
    parser.add_argument(
        "--with-source",
        action="store_true",
        help="export the labelled source images too (adapters that calibrate then need no training images)",
    )
    return parser


def _print_data(dataset: Dataset, found: CheckUp) -> None:
    """Print what was understood of a dataset, then a line for each thing that is odd."""
    print(f"{dataset.name}: {dataset.classes} classes, test pool {len(dataset.test):,}")
    print(f"licence: {dataset.entry.licence}")
    splits = {"train": dataset.train, "test": dataset.test, "validation": dataset.validation}
    for role, images in splits.items():
        if images is not None:
            counts = images.class_counts()
            told = f"{len(images):,} images, {_range(counts.min(), counts.max())} a class; {_sizes(found.facts[role])}"
            print(_shorten(f"{role}: {told}; from {dataset.origins.get(role, '')}", WIDTH))
    names = ", ".join(dataset.class_names[:NAMES]) + (", ..." if dataset.classes > NAMES else "")
    print(_shorten(f"labels: {dataset.labels_from}; classes in this order: {names}", WIDTH))
    for note in found.notes:
        print(
            textwrap.fill(f"{'note' if note.weight == 'told' else 'odd'}: {note.text}", WIDTH, subsequent_indent="  ")
        )
    print()


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _sizes(one: Facts) -> str:
    """Return `32 x 32, RGB`, or the range of sizes and the modes with their counts."""
    sizes, modes = sizes_of(one), one.summary.modes
    if not len(sizes):
        return "none can be decoded"
    told = " x ".join(_range(int(side.min()), int(side.max())) for side in sizes.T)
    more = f" ({len(sizes):,} sizes)" if len(sizes) > 1 else ""
    counted = sorted(modes.items(), key=lambda mode: -mode[1])
    return f"{told}{more}, " + ", ".join(f"{mode} ({count:,})" if len(modes) > 1 else mode for mode, count in counted)


def _print_table(
    dataset: Dataset, training: TrainingSet, drawn: Sequence[tuple[Shift, Int[np.ndarray, " drawn"], str]]
) -> None:
    multi = dataset.task == "multi_label"
    large, small = training.counts >= (100 if multi else 101), training.counts < 20
    groups = [int(group.sum()) for group in (large, ~large & ~small, small)]
    print(f"training set: {training.describe()}, n = {training.n:,}")
    title = "head/medium/tail labels" if multi else "many/medium/few classes"
    print(f"{title}: {'/'.join(map(str, groups))}; indices {training.indices_sha256[:12]}\n")
    if multi:
        _print_labels(dataset, training)
    wanted = f"{'TV wanted':>11}" if multi else ""
    print(f"{'shift':<32}{'n':>8}{'largest':>9}{'smallest':>10}{'TV train-test':>15}{wanted}  {'indices':<12}  draw")
    for shift, indices, origin in drawn:
        row = summary(dataset, training, shift, indices)
        counts = class_counts(dataset, indices)
        sizes = f"{len(indices):>8,}{counts.max():>9,}{counts.min():>10,}{row['tv_train_test']:>15.3f}"
        if multi:
            sizes += f"{row['tv_wanted']:>11.3f}" if row["tv_wanted"] is not None else f"{'-':>11}"
        print(f"{_shorten(str(shift), 31):<32}{sizes}  {str(row['indices_sha256'])[:12]}  {origin}")


def _print_labels(dataset: Dataset, training: TrainingSet) -> None:
    """Print the training set's label counts and the pairs of labels that occur together most often."""
    labels = dataset.train.labels[training.indices]
    together = np.triu(co_occurrence(labels), 1)
    print(f"labels an image: {labels.sum(axis=1).mean():.2f}; images with each label: {training.counts.tolist()}")
    pairs = [divmod(int(place), dataset.classes) for place in np.argsort(-together, axis=None, kind="stable")[:PAIRS]]
    names = dataset.class_names
    told = ", ".join(f"{names[a]} + {names[b]} {together[a, b]}" for a, b in pairs if together[a, b])
    print(f"most often together: {told or 'none'}\n")


def _shorten(text: str, width: int) -> str:
    """Return the text, its middle left out where it is longer than `width`."""
    keep = width - 3
    return text if len(text) <= width else text[: keep // 2] + "..." + text[-(keep - keep // 2) :]


if __name__ == "__main__":
    sys.exit(main(None))
