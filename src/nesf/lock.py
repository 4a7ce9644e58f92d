"""Locks between processes, also of machines that share a folder; they end with their process, however that ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from nesf.errors import NesfError
from nesf.output import refusal, sweep


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
            NesfError: where the system, or the disk, has no such locks, or the file cannot be made.
        """
        try:
            import fcntl
        except ImportError:
            raise NesfError("Sharing work needs locks that this system lacks; use Linux or macOS.") from None
        while True:
            file = self._opened()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if self._is_there(file):
                    self._file = file
                    return True
                os.close(file)  # its last owner has removed it
            except BlockingIOError:
                os.close(file)
                return False
            except OSError as error:
                os.close(file)
                raise NesfError(f"File {self.path} cannot be locked: {refusal(error)}.") from None
            except BaseException:
                os.close(file)
                raise

    def release(self, remove: bool = False) -> None:
        """Give the lock back; its file can be removed with it."""
        if self._file is not None:
            if remove:
                # Before others can have it: who waits for this file finds that it is gone, and makes a new one.
                with suppress(OSError):
                    self.path.unlink()
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise NesfError(f"Nothing can be written to {self.path.parent}: {refusal(error)}.") from None

    def _is_there(self, file: int) -> bool:
        """Whether the open file is still the one of this name."""
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))  # noqa: PTH116 (as samestat wants it)
        except FileNotFoundError:
            return False

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

    Unfinished files of killed processes are removed. Where the system has no such locks (Windows), nothing is kept out.

    Raises:
        NesfError: where another process holds it, or nothing can be written there.
    """
    _make(folder)
    lock = FileLock(folder / ".lock")
    if os.name == "posix" and not lock.acquire(wait=False):
        raise NesfError(f"Another process is writing to {folder}; wait for it or end it, or choose another --out.")
    sweep(folder)
    return lock


@contextmanager
def alone(output: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from writing to a file while the block lasts.

    The lock is a hidden file beside it, which goes with the block; unfinished files of killed processes are removed.
    A folder that is written to is kept by one of the files in it.

    Args:
        output: the file; it need not be there yet.
        wait: whether to wait for a process that writes there, which is refused otherwise.

    Raises:
        NesfError: where another process writes there, or nothing can be written there.
    """
    made = _make(output.parent)
    lock = FileLock(output.parent / f".{output.name[:50]}.lock")
    if os.name == "posix" and not lock.acquire(wait):
        raise NesfError(f"Another process is writing to {output}; wait for it or end it, or choose another output.")
    try:
        sweep(output.parent)
        yield
    finally:
        lock.release(remove=True)
        for folder in made:  # where nothing came of it
            with suppress(OSError):
                folder.rmdir()


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it; the ones that were missing, the innermost first."""
    try:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NesfError(f"Folder {folder} cannot be made: {refusal(error)}.") from None
    return missing
