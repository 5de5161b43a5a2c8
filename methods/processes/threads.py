"""Threads of one model's arithmetic: as many as its images are large, whatever the machine has.

On a CPU the order of sums, and so the last bits of a weight, depend on the number of threads. So it is not left to
the machine. One thread is fastest for small images too: a second one was measured to gain nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 64
"""Pixels a side of images that one thread is enough for."""
OF_LARGE = 4
"""Threads for larger ones."""


def threads_for(side: int) -> int:
    """Return the number of threads for images of so many pixels a side."""
    return 1 if side <= SMALL else OF_LARGE


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let PyTorch compute on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
