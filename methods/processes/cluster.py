"""Models on the workers of a Dask cluster that share the folder of results with this process.

The scheduler gives a model whose worker died to another one; finished epochs and rows are kept, so little is done
twice. Start workers with one thread each, from the folder that commands are started from:
`dask worker ADDRESS --nthreads 1 --nworkers 8`.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from methods.processes.workers import Outcome, Work
from shifts.common.errors import BadInput, WorkFailed

PATIENCE = 30
"""Seconds to look for a scheduler and its first worker."""


@contextmanager
def cluster(address: str) -> Iterator[tuple[Callable[[], Executor], int, tuple[type[Exception], ...]]]:
    """Give what makes an executor on the cluster, the number of its workers, and what it raises for one that died.

    Where it is left by an exception (Ctrl-C) what waits is called off; what runs goes on to its end, which is kept.
    Raises BadInput where there is no scheduler, or no worker.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise BadInput("--engine dask needs the extra: pip install 'tailshift[cluster]'") from error
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise BadInput(f"--scheduler: nothing answers at {address} ({str(error).splitlines()[0]})") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise BadInput(f"--scheduler: {address} has no worker; start some: dask worker {address}") from error
        workers = sum(client.nthreads().values())
        yield lambda: client.get_executor(pure=False), workers, (KilledWorker,)


def there(work: Work) -> Work:
    """Return the same work, done in this process's folder, which names of files are about."""
    return partial(_in_folder, Path.cwd(), work)


def _in_folder(folder: Path, work: Work, place: int, patient: bool, slot: int) -> Outcome:
    try:
        os.chdir(folder)
    except OSError as error:
        raise WorkFailed(f"a worker does not see the folder {folder}: {error.strerror}") from error
    return work(place, patient, slot)
