"""How an expert model is made: losses, networks, methods, recipes and the one training loop."""

from typing import TYPE_CHECKING

from methods.options import headline, look_up

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
}
"""Every method by name; its module is imported when it is asked for."""


def get(text: str) -> "Method":
    """The method that `text` names, with options on the name (`sade:tau=3`). Raises BadInput."""
    method: Method = look_up("method", text, METHODS)
    return method


def names() -> list[tuple[str, str]]:
    """(name, first line of the method file's docstring) of every method; imports none of them."""
    return [(name, headline(target.partition(":")[0])) for name, target in METHODS.items()]
