"""What a row may have known: of the test prior, of labels, of test images; and the order of these."""

from typing import Literal

PriorAccess = Literal["none", "estimated", "oracle"]


LabelAccess = Literal["none", "source", "test"]


TestAccess = Literal["inductive", "transductive", "stream"]


PRIORS = ("none", "estimated", "oracle")


LABELS = ("none", "source", "test")


TESTS = ("inductive", "stream", "transductive")


Access = tuple[str, str, str]


def is_upper(access: Access) -> bool:
    """Whether rows of this access are upper references: they were told what nobody knows."""
    return access[0] == "oracle" or access[1] == "test"


def _within(access: Access, gives: Access) -> bool:
    """Whether a contender of this access needs no more than is given."""
    scales = (PRIORS, LABELS, TESTS)
    return all(scale.index(need) <= scale.index(has) for scale, need, has in zip(scales, access, gives, strict=True))


def _order(access: Access) -> tuple[bool, int, int, int]:
    prior, label, test = access
    return is_upper(access), LABELS.index(label), TESTS.index(test), PRIORS.index(prior)
