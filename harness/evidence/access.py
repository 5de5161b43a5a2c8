"""What a row may have known: of the test prior, of labels, of test images; and the order of these."""

from collections.abc import Mapping
from typing import Any, NamedTuple

PRIORS = ("none", "estimated", "oracle")
LABELS = ("none", "source", "test")
TESTS = ("inductive", "stream", "transductive")


class Access(NamedTuple):
    """What was known besides the training set: of the test prior, of labels, of test images.

    prior: one of PRIORS; labels: one of LABELS (`source`: of images beyond the training set); test: one of TESTS (one
    image at a time, what came before it in a stream, or all images of the set).
    """

    prior: str
    labels: str
    test: str

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Access":
        """Return what the fields of a row or an entry tell."""
        return cls(fields["prior_access"], fields["label_access"], fields["test_access"])

    @property
    def fields(self) -> dict[str, str]:
        """The row fields that tell it."""
        return {f"{what}_access": value for what, value in zip(("prior", "label", "test"), self, strict=True)}

    @property
    def is_upper(self) -> bool:
        """Whether it makes an upper reference: it was told what nobody knows."""
        return self.prior == "oracle" or self.labels == "test"

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """What accesses are sorted by: least first, upper references last."""
        return self.is_upper, LABELS.index(self.labels), TESTS.index(self.test), PRIORS.index(self.prior)

    def within(self, given: "Access") -> bool:
        """Return whether it needs no more than is given."""
        scales = (PRIORS, LABELS, TESTS)
        return all(scale.index(need) <= scale.index(has) for scale, need, has in zip(scales, self, given, strict=True))
