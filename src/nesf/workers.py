"""Processes that work for another one."""

import multiprocessing
import os
import signal
import threading


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
