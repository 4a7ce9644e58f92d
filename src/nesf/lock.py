"""A folder that one process at a time writes to."""

from pathlib import Path
from typing import IO

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
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] | None = None
        try:
            import fcntl
        except ImportError:
            return
        file = (folder / _NAME).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise NesfError(
                f"Another process is writing to {folder}; wait for it or end it, or choose another --out."
            ) from None
        except BaseException:
            file.close()
            raise
        self._file = file

    def release(self) -> None:
        """Let others in."""
        if self._file is not None:
            self._file.close()
            self._file = None
