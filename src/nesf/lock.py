"""A folder that one process at a time writes to."""

import os
from pathlib import Path

from nesf.errors import NesfError

_NAME = ".lock"


class FolderLock:
    """Keeps other processes out of a folder, also those of machines that share it; it ends with its process.

    Where the system has no such locks (Windows), nothing is kept out.

    Args:
        folder: the folder, which is made.

    Raises:
        NesfError: where another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._file: int | None = None
        folder.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:
            return
        file = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise NesfError(
                f"Another process is writing to {folder}; wait for it or end it, or choose another --out."
            ) from None
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        """Let others in."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.release()
