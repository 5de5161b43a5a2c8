"""Models in turn, beside other processes: one that is busy elsewhere is left for last, failures are collected."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from filelock import Timeout
from tqdm import tqdm

from shifts.common.errors import WorkFailed


class Titled(Protocol):
    """What is worked off; `title` names it in messages."""

    @property
    def title(self) -> str: ...


W = TypeVar("W", bound=Titled)


def work_off(works: Iterable[W], finish: Callable[[W, bool], None]) -> str:
    """Call finish(work, wait) for each of `works`; returns which of them failed and why, empty if none did.

    finish raises Timeout where another process has the work and not `wait`, and WorkFailed, which is collected. Only
    when everything that is left is with other processes it is told to wait.
    """
    todo, patience = deque(works), 0
    failures: dict[str, list[str]] = defaultdict(list)
    with tqdm(total=len(todo), unit="model", delay=2, leave=False, disable=None) as bar:
        while todo:
            work = todo.popleft()
            bar.set_description_str(work.title)
            try:
                finish(work, patience >= len(todo))
            except Timeout:
                todo.append(work)
                patience += 1
                continue
            except WorkFailed as error:
                failures[str(error)].append(work.title)
            patience = 0
            bar.update()
    return "; ".join(f"{', '.join(who)}: {why}" for why, who in failures.items())
