"""What a reader of numbers should know about the data behind them, one line each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One remark about a dataset: its kind, how many things it is about, and a line with the first example.

    `numbers` says whether it can change numbers; such notes are printed before a training and stored on rows.
    """

    kind: str
    count: int
    text: str
    numbers: bool = True
