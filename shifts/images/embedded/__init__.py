"""The small dataset that needs no network: images of ten classes, and how they were taken."""

from pathlib import Path

FOLDER = Path(__file__).parent
