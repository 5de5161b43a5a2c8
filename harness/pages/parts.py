"""The sections of the report in order. Those of studies are imported when a report is made."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from harness.pages.blocks import Block, blocks
from harness.pages.picks import Pick, picks
from harness.pages.sections import accuracy, adaptation, calibration, published, weights, whether
from harness.pages.sections.choice import Choices, choices
from harness.records.rows import Row
from harness.show.section import Section

OF_A_BLOCK: tuple[Callable[[Block], Section | None], ...] = (
    accuracy.by_shift,
    accuracy.by_distance,
    weights.section,
    adaptation.section,
    whether.section,
    calibration.section,
    published.section,
)
"""Parts that every dataset, training set and recipe gets for itself, after the answer."""

OF_THE_FOLDER = (
    "harness.studies.estimate.section",
    "harness.studies.sweep.section",
    "harness.studies.route.section",
    "harness.studies.why.section",
    "harness.pages.sections.label_sets",
)
"""Modules with `section(results: Path) -> Section | None`: analyses with results of their own."""


@dataclass(frozen=True)
class Chapter:
    """One block of the report: the answer, then its sections."""

    block: Block
    choices: Choices
    picks: list[Pick]
    sections: list[Section]


@dataclass(frozen=True)
class Report:
    """Everything that is shown, whatever the form."""

    chapters: list[Chapter]
    further: list[Section]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.chapters and not self.further

    @property
    def sections(self) -> list[Section]:
        """All sections, in order."""
        return [section for chapter in self.chapters for section in chapter.sections] + self.further


def gather(results: Path, rows: list[Row]) -> Report:
    """Make the report of rows, and of what else lies in their results folder."""
    chapters = [
        Chapter(
            block,
            choices(block),
            picks(block),
            [section for part in OF_A_BLOCK if (section := part(block)) is not None],
        )
        for block in blocks(rows)
    ]
    further = [section for name in OF_THE_FOLDER if (section := _of_the_folder(name, results)) is not None]
    return Report(chapters, further)


def _of_the_folder(name: str, results: Path) -> Section | None:
    section: Section | None = import_module(name).section(results)
    return section
