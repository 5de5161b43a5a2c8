"""Models side by side: each in a process of a pool; what dies with its process is done again.

What a model's numbers are does not depend on how many are made at once: the threads of each are its own
(`methods.processes.threads`), and every model is made, asked and measured by one process.
"""

import os
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import RLock
from typing import Any, Literal

from filelock import Timeout
from tqdm import tqdm

from shifts.common.errors import WorkFailed

MEMORY = 2 * 2**30
"""Bytes that a process which makes one small model takes at most, about."""


@dataclass(frozen=True)
class Outcome:
    """What came of one model: done and what to say of it, busy elsewhere, or failed and why."""

    state: Literal["done", "busy", "failed"]
    text: str = ""


Work = Callable[[int, bool, int], Outcome]
"""Makes model number `place`; `patient`: waits where another process has it; `slot`: which of the workers does it."""


def outcome(work: Callable[[], str]) -> Outcome:
    """Return what comes of making one model, failures that a user can cause among it."""
    try:
        return Outcome("done", work())
    except Timeout:
        return Outcome("busy")
    except WorkFailed as error:
        return Outcome("failed", str(error))


class Inline(Executor):
    """Runs what is submitted at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it and return its finished future; exceptions that are no Exception (Ctrl-C) pass through."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def automatic(models: int, threads: int, device: str) -> int:
    """Return how many models to make at once on this machine, each with so many threads.

    On CPUs: as many as cores are idle, at least two where there are two, and as fit into memory. On CUDA: one for
    each device. One process of torchrun's makes one at a time.
    """
    import psutil
    from loky import cpu_count

    from methods.processes import distributed

    if distributed.launched():
        return 1
    if device == "cuda":
        import torch

        return max(1, min(models, torch.cuda.device_count()))
    cores = cpu_count()  # of this process: affinity and the quota of its control group
    idle = max(min(2, cores), cores - round(os.getloadavg()[0])) if hasattr(os, "getloadavg") else cores
    room = int(psutil.virtual_memory().available // MEMORY)
    return max(1, min(models, idle // threads, room))


@contextmanager
def side_by_side(workers: int) -> "Iterator[Callable[[], Executor]]":
    """Give a function that makes a pool of processes, new ones after a death; all of them end with this context.

    Where it is left by an exception (Ctrl-C) they end in the middle of what they do; finished epochs are kept.
    """
    from loky import ProcessPoolExecutor

    pools: list[Any] = []

    def renewed() -> Executor:
        for pool in pools:
            pool.shutdown(wait=False, kill_workers=True)
        pools.append(ProcessPoolExecutor(workers, initializer=_become_worker, initargs=(os.getpid(),)))
        made: Executor = pools[-1]
        return made

    try:
        yield renewed
    except BaseException:
        for pool in pools:
            pool.shutdown(wait=True, kill_workers=True)
        raise
    for pool in pools:
        pool.shutdown(wait=True)


PARENT: int | None = None
"""In a worker: the process that it works for."""


SLOT = -1
"""In a worker: which of them it is."""


def _become_worker(parent: int) -> None:
    global PARENT
    PARENT = parent
    tqdm.set_lock(RLock())  # tqdm's own, a semaphore of the system, would outlive a worker that is killed


def take_slot(slot: int) -> None:
    """Take the place of worker number `slot`: its line on the screen, and its GPU where there are several."""
    import torch

    global SLOT
    SLOT = slot
    if torch.cuda.is_available():
        torch.cuda.set_device(slot % torch.cuda.device_count())


def leave_if_alone() -> None:
    """End a worker whose main process has died; called between epochs, whose results are kept."""
    if PARENT is not None and os.getppid() != PARENT:
        os._exit(1)


def work_off(
    titles: Sequence[str],
    work: Work,
    pool: Callable[[], Executor],
    slots: int,
    lost: tuple[type[Exception], ...] = (),
) -> str:
    """Make the models of these titles; returns which failed and why, empty if none did.

    work: is sent to the pool's processes with each place. A model that is busy elsewhere is left for last; only when
    all that is left is busy is it waited for. Models whose process dies are done again one at a time; one that dies
    alone too has failed, and so has one for which the pool raises what is `lost`. Of several, each finished one is
    told on stderr.
    """
    executor = pool()
    todo, running = deque(range(len(titles))), dict[Future[Outcome], tuple[int, int]]()
    failures: dict[str, list[str]] = defaultdict(list)
    suspects: set[int] = set()
    patience, finished, start = 0, 0, time.monotonic()
    with tqdm(total=len(titles), unit="model", delay=2, leave=False, disable=None) as bar:
        while todo or running:
            while todo and len(running) < slots:
                if running and suspects & {todo[0], *(place for place, _ in running.values())}:
                    break  # what may have killed its process runs alone
                place = todo.popleft()
                free = min(set(range(slots)) - {slot for _, slot in running.values()})
                if slots == 1:
                    bar.set_description_str(titles[place])
                task = partial(work, place, patience > len(todo) + len(running), free)
                try:
                    future = executor.submit(task)
                except BrokenExecutor:  # a process died while it had nothing to do
                    executor = pool()
                    future = executor.submit(task)
                running[future] = place, free
            done = wait(running, return_when=FIRST_COMPLETED).done
            broken = any(isinstance(future.exception(), BrokenExecutor) for future in done)
            for future in running if broken else done:
                place, _ = running[future]
                error = future.exception() if future.done() else None
                if broken and (error is not None or not future.done()):
                    if place in suspects:
                        failures["its process died twice (killed, or out of memory)"].append(titles[place])
                        finished += 1
                        bar.update()
                    else:
                        suspects.add(place)
                        todo.append(place)
                    continue
                if isinstance(error, (*lost, WorkFailed)):
                    found = Outcome("failed", "its workers died" if isinstance(error, lost) else str(error))
                else:
                    found = future.result()
                if found.state == "busy":
                    todo.append(place)
                    patience += 1
                    continue
                if found.state == "failed":
                    failures[found.text].append(titles[place])
                patience, finished = 0, finished + 1
                bar.update()
                if found.text and found.state == "done" and len(titles) > 1:
                    _tell(bar, finished, len(titles), titles[place], found.text, time.monotonic() - start)
            if broken:
                running, executor = {}, pool()
            else:
                running = {future: where for future, where in running.items() if future not in done}
    return "; ".join(f"{', '.join(who)}: {why}" for why, who in failures.items())


def _tell(bar: "tqdm[Any]", done: int, of: int, title: str, text: str, elapsed: float) -> None:
    """Print a line on a finished model: which, what came of it, time gone, time left."""
    left = elapsed / done * (of - done)
    times = f"{duration(elapsed)} gone" + (f", about {duration(left)} left" if left else "")
    bar.write(f"[{done}/{of}] {title}: {text}; {times}", file=sys.stderr)


def duration(seconds: float) -> str:
    """Return a time as 0:07, 12:34 or 3:02:01."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
