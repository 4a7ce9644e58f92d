"""How much memory a job takes."""

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class MemoryGauge:
    """Measures above what is there when it is made: interpreter, libraries, data and model.

    On a GPU it sees the memory of tensors, otherwise the resident memory of the process. Memory that an earlier job
    left behind counts for a later one, and where the system cannot forget an earlier peak (it can on Linux), so
    does that peak: measure small jobs first.

    Args:
        device: where the jobs compute.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        _forget_peak()
        self.before = torch.cuda.memory_allocated(device) if device.type == "cuda" else peak_resident()

    def peak_of(self, job: Callable[[], object]) -> int:
        """Bytes that a job takes at most."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            job()
            return torch.cuda.max_memory_allocated(self.device) - self.before
        _forget_peak()
        job()
        return peak_resident() - self.before


def peak_resident() -> int:
    """The most resident memory of this process so far, bytes."""
    with suppress(OSError):
        # Unlike getrusage, this does not count what the parent process held when it started this one.
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _forget_peak() -> None:
    # What earlier jobs have freed must not stand for what the next one needs.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        _CLEAR.write_text("5", encoding="utf-8")
