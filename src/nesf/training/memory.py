"""How the C library hands out memory while a training runs."""

import ctypes
import sys

# Parameter numbers of glibc's mallopt, from malloc.h, and the largest threshold that it accepts.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_THRESHOLD = 32 << 20
_NEVER = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let freed arrays be used again instead of going back to the system; whether that could be arranged.

    By default glibc maps each array over 128 KiB to 32 MiB afresh: every step of a training then pays for
    millions of page faults. Elsewhere than on glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
