"""Data and shift arguments, which many commands share; `shifts.sets.request` holds what they ask for."""

import argparse
from typing import Literal

from shifts.labels.kinds import KINDS
from shifts.labels.profiles import PROFILES, check_ratio
from shifts.labels.shift import MAX_SEED, RULES
from shifts.sets.request import DataRequest


def add_data_arguments(parser: argparse.ArgumentParser, dataset: str = DataRequest.dataset) -> None:
    """Add the options on dataset and training set, `--dataset ... --train-subset-seed` (`DataRequest`).

    dataset: the default, none where it is empty.
    """
    given = DataRequest()
    group = parser.add_argument_group("data")
    default = f" (default: {dataset})" if dataset else ""
    group.add_argument("--dataset", default=dataset, help=f"name, Hub id or local folder{default}")
    group.add_argument("--data-dir", metavar="DIR", help="read the dataset from this local copy")
    group.add_argument("--image-column", metavar="NAME", help="the images' column, where it is not found")
    group.add_argument("--label-column", metavar="NAME", help="the labels' column, where it is not found")
    group.add_argument("--ids", metavar="FILE", help="ids of the training images, one a line (voc_mlt, coco_mlt)")
    group.add_argument("--config", metavar="NAME", help="which configuration, where the data have several")
    group.add_argument("--test-split", metavar="NAME", help="the split to test on (default: test, else validation)")
    group.add_argument(
        "--test-fraction",
        type=_fraction,
        metavar="F",
        help="take this part of each class as test set, for data without one, such as CLASS/*.png",
    )
    group.add_argument(
        "--train-imbalance",
        type=_train_imbalance,
        metavar="IF",
        help="largest / smallest class of the training set, or natural (default: 100; natural for long-tailed data)",
    )
    group.add_argument(
        "--profile",
        metavar="NAME",
        default=given.profile,
        help=f"class profile: {', '.join(PROFILES)}; the last keeps N images of each class from training, to be "
        "labelled source (default: exp)",
    )
    group.add_argument(
        "--draw-rule", choices=RULES, default=given.draw_rule, help=f"which training images (default: {RULES[0]})"
    )
    group.add_argument(
        "--train-subset-seed",
        type=seed,
        default=0,
        metavar="SEED",
        help="seed of the training draw (default: 0)",
    )


def add_shift_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on test distributions, `--shift --imbalance --shift-list` (`ShiftRequest`)."""
    group = parser.add_argument_group("test distribution")
    group.add_argument(
        "--shift",
        nargs="+",
        metavar="SHIFT",
        help=f"all (eleven published sets), {', '.join(kind.example for kind in KINDS.values())}; a ratio or seed may "
        "be left out; -first_n at the end changes the draw rule (default: backward_lt)",
    )
    group.add_argument(
        "--imbalance",
        nargs="+",
        type=_ratio,
        metavar="RATIO",
        help="test ratios, largest / smallest class, for kinds without their own (default: 50)",
    )
    group.add_argument(
        "--shift-list",
        action="append",
        default=[],
        metavar="FILE",
        help="a published or own list of test images: lines `path label` or `index label`",
    )


def seed(text: str) -> int:
    """Parse a seed for NumPy's legacy generator from the command line."""
    if not text.isdecimal() or int(text) > MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number in 0..{MAX_SEED}")
    return int(text)


def _fraction(text: str) -> float:
    try:
        fraction = float(text)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return fraction


def _ratio(text: str) -> float:
    try:
        return check_ratio("it", float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number >= 1") from None


def _train_imbalance(text: str) -> float | Literal["natural"]:
    try:
        return "natural" if text == "natural" else _ratio(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor natural") from None
