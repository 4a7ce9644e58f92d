"""Locks between processes, also of machines that share a folder; they end with their process, however that ends."""

import os
from pathlib import Path
from types import TracebackType

from nesf.errors import NesfError


class FileLock:
    """A lock that one process at a time holds.

    Args:
        path: a file that is made for it, in a folder that is there.
    """

    def __init__(self, path: Path) -> None:
        self._file: int | None = None
        self.path = path

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock; whether it was free, where there is no waiting.

        Raises:
            NesfError: where the system has no such locks.
        """
        try:
            import fcntl
        except ImportError:
            raise NesfError("Sharing work needs locks that this system lacks; use Linux or macOS.") from None
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> "FileLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


def hold(folder: Path) -> FileLock:
    """Make a folder and keep other processes out of it, until the lock is released.

    Where the system has no such locks (Windows), nothing is kept out.

    Raises:
        NesfError: where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    if os.name == "posix" and not lock.acquire(wait=False):
        raise NesfError(f"Another process is writing to {folder}; wait for it or end it, or choose another --out.")
    return lock
