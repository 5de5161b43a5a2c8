"""How an expert model is made: losses, networks, methods, recipes and the one training loop."""

from typing import TYPE_CHECKING

from methods.options import headline, look_up
from shifts.errors import BadInput

if TYPE_CHECKING:
    from methods.expert import Method

METHODS = {
    "softmax": "methods.softmax:Softmax",
    "balanced_softmax": "methods.balanced_softmax:BalancedSoftmax",
    "logit_adjusted": "methods.logit_adjusted:LogitAdjusted",
    "ldam_drw": "methods.ldam_drw:LdamDrw",
    "ride": "methods.ride:Ride",
    "ride_distilled": "methods.ride_distilled:RideDistilled",
    "sade": "methods.sade:Sade",
    "balpoe": "methods.balpoe:Balpoe",
    "prl": "methods.prl:Prl",
    "shike": "methods.shike:Shike",
    "bce": "methods.bce:Bce",
    "resampled_bce": "methods.resampled_bce:ResampledBce",
    "focal": "methods.focal:Focal",
    "class_balanced_focal": "methods.class_balanced_focal:ClassBalancedFocal",
    "distribution_balanced": "methods.distribution_balanced:DistributionBalanced",
    "ltml": "methods.ltml:Ltml",
}
"""Every method by name; its module is imported when it is asked for."""


def get(text: str) -> "Method":
    """The method that `text` names, with options on the name (`sade:tau=3`). Raises BadInput."""
    method: Method = look_up("method", text, METHODS)
    return method


def of_task(task: str) -> list[str]:
    """Names of the methods for `single_label` or `multi_label` data."""
    return [name for name in METHODS if get(name).task == task]


def check_task(method: "Method", task: str, dataset: str) -> None:
    """Raise BadInput, with the methods that fit, where a method is for data of another task."""
    if method.task != task:
        words = {"single_label": "one label an image", "multi_label": "label sets"}
        raise BadInput(
            f"{method.name} needs images with {words[method.task]}; {dataset} has {words[task]}; allowed: "
            + ", ".join(of_task(task))
        )


def names() -> list[tuple[str, str]]:
    """(name, first line of the method file's docstring) of every method; imports none of them."""
    return [(name, headline(target.partition(":")[0])) for name, target in METHODS.items()]
