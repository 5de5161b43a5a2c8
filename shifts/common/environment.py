"""Threads that do not fight: what libraries are told before they are loaded, unless the user has said otherwise.

OpenMP's threads spin while they wait, which takes the cores from whoever has work; OpenBLAS starts a thread a core for
products that are done before it has. Beside one busy process either makes a command several times slower.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
"""Environment variables, set where they are not; libraries that are loaded already do not see them."""


def settle() -> None:
    """Set the environment of this process and of those that it starts."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold NumPy's products to one thread, also where NumPy was loaded first; the user's own setting stays."""
    from threadpoolctl import threadpool_limits

    number = os.environ.get("OPENBLAS_NUM_THREADS", "1")
    with threadpool_limits(int(number) if number.isdecimal() else None, user_api="blas"):
        yield
