"""Which adapter to take for what a file has, by the reference rows (results/reference)."""

from dataclasses import replace
from typing import Literal, NamedTuple, TypeVar

from harness import adapters
from harness.adapters.parts.contract import Adapter
from harness.adapters.parts.streams import Arriving
from harness.evidence.arrays import Evidence
from methods.core.options import split_name
from shifts.common.errors import BadInput

Order = Literal["whole", "stream"]

A = TypeVar("A", bound=Arriving)


class Recommended(NamedTuple):
    """An adapter, and the points of top-1 that it wins over no adaptation: the mean over the reference rows."""

    adapter: str
    points: float


RECOMMENDED: dict[tuple[bool, Order], Recommended] = {
    (True, "whole"): Recommended("choose_source", 8.9),
    (False, "whole"): Recommended("choose", 1.9),
    (True, "stream"): Recommended("stream_em_bcts", 6.7),
    (False, "stream"): Recommended("stream_em", 0.4),
}
"""(labelled source images are there, how the images come) -> what is best on average of what needs no more.

A test derives it from the committed rows, over all models with `mean` rows and the shifts that all of them have.
"""


def recommended(evidence: Evidence, order: Order) -> Recommended:
    """Return what the reference recommends for this evidence."""
    found = RECOMMENDED[evidence.source is not None, order]
    if adapters.get(found.adapter).missing(evidence) is None:
        return found
    return RECOMMENDED[False, order]  # a source that lacks a class calibrates nothing


def chosen(name: str | None, evidence: Evidence, order: Order, batch: int | None) -> Adapter:
    """Return the adapter by name, or the recommended one, for a stream with its batch, None for the adapter's own.

    Raises BadInput for one that is told the truth, that is for images that come otherwise, or that this evidence
    cannot serve, and for options that contradict each other.
    """
    if order == "whole" and batch is not None:
        raise BadInput(f"batches of {batch} images are for a stream: give --order stream too, or leave out --batch")
    made = adapters.get(recommended(evidence, order).adapter if name is None else name)
    if not isinstance(made, Adapter):
        raise BadInput(f"{made.name} is told the labels, so it cannot answer for images without; take another adapter")
    if isinstance(made, Arriving) != (order == "stream") and made.name != "mean":
        ways = ("a stream: give --order stream", "all images at once: leave out --order stream")
        raise BadInput(f"{made.name} reads {ways[order == 'stream']}")
    if isinstance(made, Arriving):
        options = {} if name is None else split_name(name)[1]
        if "order" in options:
            raise BadInput(f"{name}: images come in the order of the file; leave out order={options['order']}")
        if batch is not None and "batch" in options and made.batch != batch:
            raise BadInput(f"{name} contradicts --batch {batch}; give one of the two")
        made = made if batch is None else _with_batch(made, batch)
    if (reason := made.missing(evidence)) is not None:
        raise BadInput(f"{made.name} does not apply: {reason}")
    return made


def _with_batch(adapter: A, batch: int) -> A:
    return replace(adapter, batch=batch)
