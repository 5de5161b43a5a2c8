"""What `python -m harness.apply` prints: what is known, whether to adapt, which classes grew and shrank."""

import textwrap

import numpy as np

from harness.adapters.choose_source import ChooseSource
from harness.adapters.parts.contract import Prior
from harness.adapters.parts.streams import Arriving
from harness.applying.applied import Applied
from harness.applying.recommended import Recommended
from harness.applying.verdict import Verdict
from harness.show.cells import percent, points
from harness.show.text import aligned, counted
from shifts.common.files import printable
from shifts.labels.distance import total_variation

WIDTH = 100
SHOWN = 3
LONGEST_NAME = 40


def text(made: Applied, found: Recommended | None) -> str:
    """Return the summary, at most WIDTH wide; found: what the reference recommended, None where the user named one."""
    lines = [*_known(made), *_adapter(made, found), ""]
    lines += _wrapped(_trust(made.verdict), "verdict:  ") + _wrapped(_answered(made), "answers:  ")
    if made.prior is not None:
        lines += _shares(made)
    return "\n".join(lines)


def _known(made: Applied) -> list[str]:
    evidence = made.read.evidence
    images, experts, classes = evidence.logits.shape
    parts = [counted(images, "image"), counted(experts, "expert"), counted(classes, "class", "classes")]
    if evidence.source is None:
        parts.append("no labelled source images")
    else:
        source, notes = evidence.source, []
        if source.seen:
            notes.append(f"{source.seen:,} of them trained on")
        if (reason := ChooseSource().missing(evidence)) is not None:
            notes.append(f"of no use: {reason}")
        told = f" ({'; '.join(notes)})" if notes else ""
        parts.append(counted(len(source.labels), "labelled source image") + told)
    return _wrapped(", ".join(parts), "known:    ")


def _adapter(made: Applied, found: Recommended | None) -> list[str]:
    words = f"{made.adapter.name} version {made.adapter.version}"
    if isinstance(made.adapter, Arriving):
        words += f", batches of {made.adapter.batch} in the order of the file"
    if found is not None:
        needs = "no more than labelled source images" if made.adapter.access.labels == "source" else "no labels"
        words += (
            f"; of the adapters that need {needs} the best on the reference rows, {found.points:+.1f} points "
            "over no adaptation"
        )
    return _wrapped(words, "adapter:  ")


def _trust(said: Verdict | None) -> str:
    if said is None:
        return "no adaptation was asked for"
    expected, (low, high) = said.expected, said.interval
    reasons = f" ({'; '.join(said.reasons)})" if said.reasons else ""
    return (
        f"{said.word}{reasons}. Told by {said.told_by}: accuracy about {percent(expected.plain)} without and "
        f"{percent(expected.adapted)} with adaptation, {points(expected.adapted - expected.plain)} points, 90 % "
        f"interval {points(low)} to {points(high)}."
    )


def _answered(made: Applied) -> str:
    if not made.adapted:
        return "without adaptation"
    if made.answers.changed == 0:
        return "adapted; every class is that without adaptation"
    return f"adapted; {percent(made.answers.changed)} are others than without adaptation"


def _shares(made: Applied) -> list[str]:
    prior = made.prior
    assert prior is not None
    grown = prior - made.train
    order = np.argsort(-grown, kind="stable")
    count = min(SHOWN, len(order) // 2)
    picked = [*order[:count], *order[len(order) - count :]]
    cells = [
        (
            "grew" if grown[place] > 0 else "shrank",
            _short(made.class_names[place]),
            percent(made.train[place]),
            percent(prior[place]),
            _between(made.low, made.high, place),
        )
        for place in picked
    ]
    headings = ("", "class", "of training", "estimated", "90 % interval")
    distance = f"shares:   {total_variation(made.train, prior):.3f} from the training shares (total variation)"
    return [distance, "", *(f"  {line}" for line in aligned(headings, cells, left=2))]


def _between(low: Prior | None, high: Prior | None, place: int) -> str:
    return "-" if low is None or high is None else f"{100 * low[place]:.1f}-{100 * high[place]:.1f} %"


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..."


def _wrapped(words: str, label: str) -> list[str]:
    bound = (label + words).replace(" %", "\xa0%")
    lines = textwrap.wrap(bound, WIDTH, subsequent_indent=" " * 10, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines]
