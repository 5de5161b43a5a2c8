"""One file a paper; this list names them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from methods.core.options import headline, look_up
from shifts.common.errors import BadInput

if TYPE_CHECKING:
    from methods.core.method import Method

METHODS = {
    "softmax": "methods.papers.softmax:Softmax",
    "balanced_softmax": "methods.papers.balanced_softmax:BalancedSoftmax",
    "logit_adjusted": "methods.papers.logit_adjusted:LogitAdjusted",
    "ldam_drw": "methods.papers.ldam_drw:LdamDrw",
    "ride": "methods.papers.ride:Ride",
    "ride_distilled": "methods.papers.ride_distilled:RideDistilled",
    "sade": "methods.papers.sade:Sade",
    "balpoe": "methods.papers.balpoe:Balpoe",
    "prl": "methods.papers.prl:Prl",
    "shike": "methods.papers.shike:Shike",
    "bce": "methods.papers.label_sets.bce:Bce",
    "resampled_bce": "methods.papers.label_sets.resampled_bce:ResampledBce",
    "focal": "methods.papers.label_sets.focal:Focal",
    "class_balanced_focal": "methods.papers.label_sets.class_balanced_focal:ClassBalancedFocal",
    "distribution_balanced": "methods.papers.label_sets.distribution_balanced:DistributionBalanced",
    "ltml": "methods.papers.label_sets.ltml:Ltml",
}
"""Every method by name; its module is imported when it is asked for."""

BESIDES = ("logit_adjusted", "ride_distilled")
"""Methods that `all` names and the default leaves out: at its default the one has the loss of balanced_softmax, the
other is a distillation that takes as long to train as all the rest of a small run."""


def get(text: str) -> "Method":
    """Return the method that `text` names, with options on the name (`sade:tau=3`). Raises BadInput."""
    method: Method = look_up("method", text, METHODS)
    return method


def of_task(task: str) -> list[str]:
    """Return the names of the methods for `single_label` or `multi_label` data."""
    return [name for name in METHODS if get(name).task == task]


def asked_for(names: Sequence[str], task: str) -> "list[Method]":
    """Return the methods of these names, each once; `all` is every one for the task, no name one for each paper.

    Raises BadInput.
    """
    every = of_task(task)
    wanted = [one for name in names for one in (every if name == "all" else [name])]
    return list(map(get, dict.fromkeys(wanted or [name for name in every if name not in BESIDES])))


def check_task(method: "Method", task: str, dataset: str) -> None:
    """Raise BadInput, with the methods that fit, where a method is for data of another task."""
    if method.task != task:
        words = {"single_label": "one label an image", "multi_label": "label sets"}
        raise BadInput(
            f"{method.name} needs images with {words[method.task]}; {dataset} has {words[task]}; allowed: "
            + ", ".join(of_task(task))
        )


def names() -> list[tuple[str, str]]:
    """Return (name, first line of the method file's docstring) of every method; import none of them."""
    return [(name, headline(target.partition(":")[0])) for name, target in METHODS.items()]
