"""Rows of a routing study: every threshold on every shift, and the measured run."""

from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from harness.records.study_rows import StudyRow


@dataclass(frozen=True)
class RouteRow(StudyRow):
    """One threshold on one shift; no choice among thresholds is made, so nothing of the test set was known.

    published: whether it is the released code's threshold. shares: of images shown to exactly 1..E experts, overall
    and of each shot group's images; None for a group that the draw has no image of. top1_all, macs_all: all experts
    run. macs: mean multiply-accumulates of an image, counting the experts that were run and no gate; None for a
    stranger's evidence and for a method whose number of experts is not an option.
    """

    folder: ClassVar[str] = "routes"
    schema: ClassVar[int] = 1
    version: ClassVar[int] = 1

    experts: int
    threshold: float
    published: bool
    top1: float
    many: float | None
    medium: float | None
    few: float | None
    macro: float
    top1_all: float
    shares: list[float]
    shares_many: list[float] | None
    shares_medium: list[float] | None
    shares_few: list[float] | None
    mean_experts: float
    macs: float | None
    macs_all: float | None


@dataclass(frozen=True)
class MeasuredRow(StudyRow):
    """Wall time of one shift's images, routed with real skipping and with all experts run, in turns.

    images: how many were timed (all of the draw, or a part of it where they would not fit in memory). seconds,
    seconds_all: wall time of the forward passes alone, one value a repeat; cpu_seconds: processor time of this
    process, which other load on the machine moves less (on a GPU it says little). agreed: share of images shown to as
    many experts as the stored gate logits say; largest_difference: between the run's logits and the routed ones of the
    evidence, over images that agree. mean_experts: of the run.
    """

    folder: ClassVar[str] = "routes/measured"
    schema: ClassVar[int] = 1
    version: ClassVar[int] = 1

    device: str
    threads: int
    batch: int
    threshold: float
    images: int
    mean_experts: float
    macs: float | None
    macs_all: float | None
    seconds: list[float]
    seconds_all: list[float]
    cpu_seconds: list[float]
    cpu_seconds_all: list[float]
    agreed: float
    largest_difference: float

    @property
    def faster(self) -> float:
        """Median wall time of all experts over that of skipping."""
        return median(self.seconds_all) / median(self.seconds)

    @property
    def cpu_ratio(self) -> float:
        """The same of this process's processor time."""
        return median(self.cpu_seconds_all) / median(self.cpu_seconds)
