"""How the C library hands out memory while a long job runs, and what to do where there is not enough."""

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

# Parameter numbers of glibc's mallopt, from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_NEVER = (1 << 31) - 1
_AT_ONCE = 256 << 20
# How PyTorch's allocators, and the libraries behind its products, say that they got none.
_COMPLAINTS = ("can't allocate memory", "out of memory", "bad_alloc", "ALLOC_FAILED", "could not create a primitive")


def keep_freed_memory() -> bool:
    """Let freed arrays be used again instead of going back to the system; whether that could be arranged.

    By default glibc maps each large array afresh and gives it back when it is freed: every step of a training, or of
    an estimation, then pays for page faults by the thousand. Here all threads share one heap, which grows by large
    pieces and never shrinks. Elsewhere than on glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    options = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _AT_ONCE))
    arranged = [bool(mallopt(name, value)) for name, value in options]
    return all(arranged)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice; PyTorch says so by a ``RuntimeError``."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _COMPLAINTS)


def in_halves(work: Callable[[Sequence[T]], Sequence[U]], items: Sequence[T], instead: Callable[[T], U]) -> list[U]:
    """What becomes of each item: of all together or, where memory does not suffice for that, of each half.

    Args:
        work: from items to as many results.
        items: what is worked on.
        instead: from an item that there is no memory for, even by itself, to what takes the place of its result.

    >>> def greedy(words):
    ...     if len(words) > 1:
    ...         raise MemoryError
    ...     return [len(word) for word in words]
    >>> in_halves(greedy, ["a", "crystal", "of", "salt"], lambda word: -1)
    [1, 7, 2, 4]
    """
    try:
        return list(work(items))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    # Here, and not in the handler, nothing refers to the arrays of the attempt any more.
    if len(items) == 1:
        return [instead(items[0])]
    half = len(items) // 2
    return in_halves(work, items[:half], instead) + in_halves(work, items[half:], instead)
