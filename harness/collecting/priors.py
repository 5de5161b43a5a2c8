"""What training says of a model's answers: train counts, and from the loss the prior that each expert answers for."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from methods.core.options import parse_value, split_name
from methods.core.priors import ExpertPriors, normalise
from shifts.common.errors import BadInput, check_name

LOSSES = ("cross_entropy", "balanced_softmax", "logit_adjusted:tau=1")
"""Losses of a softmax whose answers have a known prior; tau is any number."""

Loss = str | Sequence[str] | ArrayLike
"""One loss for all experts, one an expert, or the experts' priors [experts, classes] themselves."""

ASKED = (
    f"which loss trained the model? one of {', '.join(LOSSES)} (one for all experts, or one an expert), or the label "
    "prior that each expert answers for, [experts, classes]"
)


def checked_counts(counts: ArrayLike) -> Int[np.ndarray, " classes"]:
    """Return train counts as int64 [C]. Raises BadInput unless they are whole numbers >= 1 of two classes or more."""
    try:
        given = np.asarray(counts)
        whole = given.ndim == 1 and len(given) >= 2 and bool((given == given.astype(np.int64)).all())
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or given.min() < 1:
        raise BadInput("train_counts must be the number of training images of each class, whole numbers >= 1")
    return given.astype(np.int64)


def prior_of(loss: str, counts: Int[np.ndarray, " classes"]) -> Float[np.ndarray, " classes"]:
    """Return the prior that a softmax answers for after training with a loss: pi, uniform, or pi^(1 - tau), scaled.

    Raises BadInput for a loss that is not known.
    """
    name, options = split_name(loss)
    check_name("loss", name, [known.partition(":")[0] for known in LOSSES])
    share = normalise(counts)
    if name != "logit_adjusted":
        for key in options:
            raise BadInput(f"{name} takes no options; given: {key!r}")
        return share if name == "cross_entropy" else np.full(len(share), 1 / len(share))
    for key in options:
        check_name("option of logit_adjusted", key, ["tau"])
    if "tau" not in options:
        raise BadInput("logit_adjusted needs its strength: logit_adjusted:tau=1")
    return normalise(share ** (1 - parse_value("tau", options["tau"], float)))


def priors_of(loss: Loss | None, counts: Int[np.ndarray, " classes"]) -> ExpertPriors:
    """Return the experts' priors; of one loss one row, which stands for any number of experts.

    Those of losses are exact, given ones are not taken to be. Raises BadInput for what is neither, and where nothing is
    given.
    """
    if loss is None:
        raise BadInput(f"loss is needed: {ASKED}")
    if isinstance(loss, str):
        return ExpertPriors(prior_of(loss, counts)[None], exact=True)
    try:
        given = np.asarray(loss)
    except ValueError:
        given = np.empty(0)
    if given.ndim == 1 and len(given) and given.dtype.kind == "U":
        return ExpertPriors(np.stack([prior_of(str(one), counts) for one in given]), exact=True)
    if given.ndim != 2 or given.dtype.kind not in "fiu" or given.shape[1] != len(counts):
        raise BadInput(f"loss is {given.dtype}{list(given.shape)}; {ASKED}")
    try:
        return ExpertPriors(given.astype(np.float64), exact=False)
    except ValueError as error:
        raise BadInput(f"loss: {error}") from error


def for_experts(priors: ExpertPriors, experts: int) -> ExpertPriors:
    """Return priors with a row for each expert. Raises BadInput where there are rows for another number."""
    rows = priors.values
    if len(rows) not in (1, experts):
        raise BadInput(f"the model has {experts} experts; loss is given for {len(rows)}")
    return ExpertPriors(np.repeat(rows, experts, 0) if len(rows) == 1 else rows, priors.exact)
