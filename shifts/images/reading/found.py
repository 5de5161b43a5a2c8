"""What readers of data find: splits with their labels and images, and what they leave out."""

from collections import Counter
from dataclasses import dataclass, field

from shifts.common.notes import Note
from shifts.images.imageset import Store
from shifts.images.reading.numbering import Labels
from shifts.images.reading.paths import Parts, shown

IMAGE_NAMES = ("image", "img", "file_name", "filename", "image_path", "filepath", "path")
"""Usual names of a column of images, or of paths to them, the most usual first."""
LABEL_NAMES = ("label", "labels", "fine_label", "class", "category", "target")
"""Usual names of a column of labels, the most usual first."""


@dataclass(frozen=True)
class FoundSplit:
    """One split as found: labels, where its images lie, and in words where it came from."""

    labels: Labels
    store: Store
    origin: str


HIDDEN, NO_IMAGES = "hidden files", "files that are no images"
STRAY, BESIDE = "images beside the class folders", "files beside the splits"


@dataclass
class LeftOut:
    """Counts what is left out, by reason, with the first example of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, parts: Parts) -> None:
        """Count one file."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, shown(parts))

    def notes(self) -> list[Note]:
        """Return one note for each reason."""
        return [
            Note(
                "left_out",
                count,
                f"left out: {reason} ({count:,}, such as {self.examples[reason]})",
                "odd" if reason in (HIDDEN, NO_IMAGES) else "numbers",
            )
            for reason, count in sorted(self.counts.items())
        ]
