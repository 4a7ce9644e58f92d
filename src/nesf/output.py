"""Files that appear whole or not at all, and what to say where the system refuses to write."""

import ctypes
import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from nesf.errors import NesfError

_REMAINS = re.compile(r"\..+\.[0-9a-f]{8}\.part")
_ELSEWHERE = "choose a place that you may write to"
_CURES = {
    errno.ENOSPC: "free some space, or choose a place on another disk",
    errno.EDQUOT: "delete files until you are below your quota, or choose a place on another disk",
    errno.EFBIG: "raise the limit (ulimit -f), or choose a place on another disk",
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.ENOENT: "choose a folder that is there or can be made",
    errno.ENOTDIR: "choose a folder that is there or can be made",
    errno.EEXIST: "choose another name, this one is taken",
    errno.EISDIR: "choose another name, this one is a folder's",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def whole_file(path: str | Path, lasting: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path``; what is written there takes its place when the block ends well.

    Missing folders are made. An interrupted or failing block leaves ``path`` as it was, and after a loss of power
    either the old or the new content is there. What is no regular file, such as a pipe, is written to directly; of a
    link, what it points to is replaced.

    Args:
        path: the file.
        lasting: whether its content is put onto the disk before it gets its name, which takes milliseconds. Of many
            small files, ``settle`` does it at once; for a file that can be made again there is no need.

    Raises:
        NesfError: where the system refuses to write there.
    """
    path = Path(path)
    with writing(path):
        # Where a link is one of a loop it stays as it is, and is refused when it is opened.
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if target.exists() and not target.is_file():
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            yield target
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, mark = _begun(target)
        try:
            yield temporary
            if lasting:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            if mark is not None:
                os.close(mark)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Says in one sentence where and why the system refuses to write, and what helps.

    Raises:
        NesfError: in the place of an OSError in the block.
    """
    try:
        yield
    except BrokenPipeError:  # whoever reads the output has had enough
        raise
    except OSError as error:
        raise NesfError(f"File {path} cannot be written: {refusal(error)}.") from None


def check_begun(folder: Path, *names: str) -> None:
    """Raise ``NesfError`` where a folder holds none of the files of a run that could go on."""
    if not any((folder / name).exists() for name in names):
        reason = f"{folder} holds no run" if folder.is_dir() else f"There is no folder {folder}"
        raise NesfError(f"{reason}; correct --resume, or start anew with --out.")


def check_file(path: Path) -> None:
    """Look before the work whether its result can be a file of this name.

    Raises:
        NesfError: where a folder has it.
    """
    if path.is_dir():
        raise NesfError(f"{path} is a folder; give the name of a file.")


def refusal(error: OSError) -> str:
    """Why the system refuses, and the cure, as the end of a sentence."""
    number = error.errno or 0
    # Libraries put more into the text than the reason.
    reason = os.strerror(number) if number else " ".join(str(error).split()).rstrip(".")
    return f"{reason}; {_CURES.get(number, 'check the disk, or choose another place')}"


def settle(folder: Path) -> None:
    """Put all that was written to the disk of a folder onto it, where the system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            # Of this file system alone: os.sync waits for all of them, and for ever where one does not answer.
            sync_one = getattr(ctypes.CDLL(None), "syncfs", None)
            if sync_one is not None:
                sync_one(handle)
            elif hasattr(os, "sync"):
                os.sync()
        finally:
            os.close(handle)


def settle_folder(folder: Path) -> None:
    """Put the names in a folder onto the disk, where the system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in a folder; those of running ones stay."""
    with suppress(OSError):
        for path in folder.iterdir():
            if _REMAINS.fullmatch(path.name) and path.is_file():
                _remove_if_dead(path)


def _begun(target: Path) -> tuple[Path, int | None]:
    """An empty temporary file beside another, and a handle that shows others that its process lives."""
    while True:
        # Names may have 255 bytes, and a letter up to four.
        temporary = target.with_name(f".{target.name[:50]}.{uuid4().hex[:8]}.part")
        mark = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if os.name != "posix":  # an open file could not be renamed
            os.close(mark)
            return temporary, None
        if _locked(mark) is not False and temporary.exists():
            return temporary, mark
        os.close(mark)  # swept away in the moment between the two


def _remove_if_dead(path: Path) -> None:
    with suppress(OSError):
        mark = os.open(path, os.O_RDWR)
        try:
            if _locked(mark):
                path.unlink()
        finally:
            os.close(mark)


def _locked(handle: int) -> bool | None:
    """Whether an open file could be locked; None where the system, or the disk, has no locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True
