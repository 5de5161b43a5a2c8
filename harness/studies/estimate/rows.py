"""Rows of the estimation study: one adapter on many test sets of one shift."""

from dataclasses import dataclass
from typing import ClassVar

from harness.records.record import Json
from harness.records.study_rows import StudyRow


@dataclass(frozen=True)
class EstimateRow(StudyRow):
    """Errors of one adapter's estimates of the test prior, one value a test set.

    n: images of each set, drawn from the pool with replacement (`indices_sha256` and `tv_train_test` are those of the
    shift's own set, which is drawn without). tv, js: total variation and Jensen-Shannon divergence (nats) between the
    estimate and the set's class shares; rae, nmd: their relative error and their match distance along the classes from
    head to tail, None in rows of schema 1 (the absolute error AE is 2 tv / C); tv_target: between these and the prior
    that the mean of expert logits answers for. source_n, source_seen: labelled images that the adapter read, and how
    many of them were trained on.
    """

    folder: ClassVar[str] = "estimates"
    schema: ClassVar[int] = 2
    version: ClassVar[int] = 1

    adapter: str
    adapter_version: int
    prior_access: str
    label_access: str
    test_access: str
    target_prior_kind: str
    source_n: int
    source_seen: int
    views: int | None
    trials: int
    tv: list[float]
    js: list[float]
    tv_target: list[float]
    rae: list[float] | None
    nmd: list[float] | None
    classes: int | None

    @staticmethod
    def older(values: Json) -> Json:
        return values | {"rae": None, "nmd": None, "classes": None}
