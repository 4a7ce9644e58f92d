"""Times: warmed up, interleaved, the median of several."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """How long a job takes.

    Attributes:
        seconds: median of the repeats.
        fastest: the shortest of them, seconds.
        slowest: the longest of them, seconds.
        repeats: how many there were, after the warm-up.
    """

    seconds: float
    fastest: float
    slowest: float
    repeats: int


def interleaved(
    jobs: Mapping[str, Callable[[], object]],
    device: torch.device,
    *,
    least: int = 3,
    seconds: float = 0.0,
    warm_up: bool = True,
) -> dict[str, Timing]:
    """Time jobs in turn, round by round, so that a slow minute of the machine falls on all of them alike.

    Args:
        jobs: what is timed, by name.
        device: what must have finished before a clock is read.
        least: rounds at least.
        seconds: further rounds are made until this time is spent.
        warm_up: whether each job runs once before.
    """
    if warm_up:
        for job in jobs.values():
            once(job, device)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    rounds = 0
    while rounds < least or sum(map(sum, times.values())) < seconds:
        for name, job in jobs.items():
            times[name].append(once(job, device))
        rounds += 1
    return {name: Timing(statistics.median(t), min(t), max(t), rounds) for name, t in times.items()}


def once(job: Callable[[], object], device: torch.device) -> float:
    """Seconds that a job takes, the work that it leaves to the device included."""
    synchronise(device)
    start = time.perf_counter()
    job()
    synchronise(device)
    # A clock may stand still over a tiny job; a rate must stay finite.
    return max(time.perf_counter() - start, math.ulp(1.0))


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
