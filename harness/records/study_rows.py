"""Typed rows of a study: flat dataclass values, one Parquet file for each checkpoint, complete or absent."""

from dataclasses import dataclass
from typing import ClassVar, Self

from harness.records.record import Json, Kind, ParquetFiles


@dataclass(frozen=True)
class StudyRow:
    """What rows of every study have: which data, which model, which shift. Accuracies are fractions of 1.

    study_id: SHA-256 of everything that determines the figures of one checkpoint on one shift; its rows share it.
    Subclasses add plain fields (int, float, str, bool, lists of them; None where the type allows it).
    """

    folder: ClassVar[str]
    """Name of the folder under a results folder."""
    schema: ClassVar[int]
    """`schema_version` of the rows that this program writes; a newer one is refused."""

    version: ClassVar[int]
    """`study_version` that this program writes, raised whenever the same evidence would give other figures."""

    schema_version: int
    study_id: str
    study_version: int
    # data
    dataset: str
    train_fingerprint: str | None
    test_fingerprint: str
    test_split: str
    train_profile: str | None
    train_imbalance: float | None
    train_rule: str | None
    train_subset_seed: int | None
    train_n: int
    train_counts_sha256: str
    # method
    method: str
    method_version: int
    backbone: str | None
    recipe: str | None
    recipe_sha256: str | None
    epochs: int | None
    train_seed: int | None
    train_version: int | None
    checkpoint_sha256: str
    evidence_version: int
    metrics_version: int
    # shift
    shift: str
    shift_kind: str
    shift_ratio: float | None
    shift_alpha: float | None
    shift_seed: int | None
    shift_rule: str | None
    shift_origin: str
    n: int
    indices_sha256: str
    tv_train_test: float
    revision: str
    """Git revision or version of the program; no part of `study_id`."""

    @staticmethod
    def older(values: Json) -> Json:
        """Bring the values of a row of an older schema up to `schema`."""
        return values

    @classmethod
    def files(cls) -> ParquetFiles[Self]:
        """Return the files of rows of this kind, one for each checkpoint."""
        return ParquetFiles(Kind(cls, f"{cls.folder} row", cls.schema, cls.older), cls.folder)
