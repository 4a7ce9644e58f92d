"""How the C library hands out memory while a long job runs."""

import ctypes
import sys

# Parameter numbers of glibc's mallopt, from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_NEVER = (1 << 31) - 1
_AT_ONCE = 256 << 20


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
