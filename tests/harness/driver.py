"""Runs the main command in forked children that are killed, fail or race; told in JSON lines, answers in JSON lines.

A request is a list of children {"arguments", "results", "fault"}; at most two run at once. Renames into `results` are
counted from 1. A fault is one of: nothing; {"kill": k, "when": "before" | "after"} = SIGKILL at the k-th rename;
{"kill_after": seconds} = SIGKILL that long after the first rename; {"full": k, "how": "errno" | "limit"} = from the
k-th write on there is no room, told by Python (ENOSPC) or by the system (a limit on the size of files).
"""

import errno
import json
import os
import resource
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import datasets
import torch._dynamo

import harness.run
from harness.run import main

CHILDREN_AT_ONCE = 2
ROOM = 64
"""Bytes that a file may have once the disk is full."""


def install(results: Path, fault: dict[str, Any], log: int) -> None:
    """Put the fault in place; destinations of renames into `results` are written to `log`."""
    replace, mkstemp = os.replace, tempfile.mkstemp
    renames = writes = 0

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def faulty_replace(source: Any, destination: Any) -> None:
        nonlocal renames
        if not Path(destination).is_relative_to(results):
            return replace(source, destination)
        renames += 1
        hit = renames == fault.get("kill")
        if hit and fault["when"] == "before":
            kill()
        replace(source, destination)
        os.write(log, f"{Path(destination).relative_to(results)}\n".encode())
        if hit and fault["when"] == "after":
            kill()
        if renames == 1 and "kill_after" in fault:
            threading.Timer(fault["kill_after"], kill).start()

    def faulty_mkstemp(*given: Any, **named: Any) -> Any:
        nonlocal writes
        writes += Path(named["dir"]).is_relative_to(results) if named.get("dir") else 0
        if writes < fault["full"]:
            return mkstemp(*given, **named)
        if fault["how"] == "errno":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(named["dir"]))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
        return mkstemp(*given, **named)

    os.replace = faulty_replace  # type: ignore[assignment]
    if "full" in fault:
        tempfile.mkstemp = faulty_mkstemp


def start(child: dict[str, Any]) -> tuple[int, int, int]:
    """Fork a child; returns its process id and the reading ends of its stderr and of its list of renames."""
    (err, err_in), (log, log_in) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid:
        os.close(err_in)
        os.close(log_in)
        return pid, err, log
    status = 70
    try:
        os.dup2(err_in, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        install(Path(child["results"]), child["fault"], log_in)
        status = main(child["arguments"]) or 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def finish(running: dict[int, tuple[int, int, int]], outcomes: list[Any]) -> None:
    """Wait for one child and keep its outcome."""
    pid, status = os.wait()
    number, err, log = running.pop(pid)
    with open(err, "rb") as stream, open(log, "rb") as renames:
        outcomes[number] = {
            "status": os.waitstatus_to_exitcode(status),
            "err": stream.read().decode(),
            "renames": renames.read().decode().split(),
        }


def serve(children: list[dict[str, Any]]) -> list[Any]:
    """Run all children of a request."""
    outcomes: list[Any] = [None] * len(children)
    running: dict[int, tuple[int, int, int]] = {}
    for number, child in enumerate(children):
        if len(running) == CHILDREN_AT_ONCE:
            finish(running, outcomes)
        pid, err, log = start(child)
        running[pid] = number, err, log
    while running:
        finish(running, outcomes)
    return outcomes


if __name__ == "__main__":
    # Everything is imported before the first fork and nothing is run, so that children start fast and alike.
    assert all((harness.session, datasets, torch))
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), flush=True)
