"""Processes that work for another one."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end(pool: ProcessPoolExecutor, *, at_once: bool) -> None:
    """End the processes of a pool: when they have done what they are at, or, after an interruption, at once."""
    if at_once:
        # Its own way to do so is new in Python 3.14.
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)


def follow() -> None:
    """Begin the life of a process that works for its parent: it is stopped by it alone, and ends with it.

    A parent that is killed has no chance to end its workers, which would wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "Only a process that another one has started follows it."

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
