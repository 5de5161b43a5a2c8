"""What a reader of numbers should know about the data behind them, one line each."""

from dataclasses import dataclass
from typing import Literal

Weight = Literal["told", "odd", "numbers"]


@dataclass(frozen=True)
class Note:
    """One remark about a dataset: its kind, how many things it is about, and a line with the first example.

    weight: `told` is plain information; `odd` deserves a look; `numbers` can change numbers, and is printed before a
    training and stored on its rows.
    """

    kind: str
    count: int
    text: str
    weight: Weight = "numbers"
