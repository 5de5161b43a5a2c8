"""Work that kills the process which does it; in a file of its own, as worker processes import it."""

import os
import signal
import time
from pathlib import Path

from methods.processes.workers import Outcome


def work(note: Path, place: int, patient: bool, slot: int) -> Outcome:
    """Number 1 kills its process where there is no note of that, number 3 each time."""
    if place == 3 or (place == 1 and not note.exists()):
        if place == 1:
            note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return Outcome("done", f"done {place}")
