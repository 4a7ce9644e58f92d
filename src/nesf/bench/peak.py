"""The fastest that the machine multiplies matrices, and how many operations the networks need."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from nesf.bench.timing import interleaved
from nesf.model import NetworkSettings

SHAPES = ((4096, 4096, 4096), (2048, 2048, 2048), (24576, 128, 128))
"""Products (n, k) x (k, m) as n, k, m: large squares, and a hidden layer of the fields over many queries."""
QUICK_SHAPES = ((1024, 1024, 1024), (24576, 128, 128))
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Peak:
    """What matrix products reach on a device.

    Attributes:
        flops_per_second: best of all shapes, by precision.
        by_shape: the same by precision and shape, n x k x m.
    """

    flops_per_second: dict[str, float]
    by_shape: dict[str, dict[str, float]]

    @property
    def best(self) -> float:
        """Of all precisions."""
        return max(self.flops_per_second.values())


def measure_peak(device: torch.device, *, quick: bool) -> Peak:
    """Multiply matrices of several shapes, in float32 as PyTorch is set to do it and in bfloat16."""
    by_shape: dict[str, dict[str, float]] = {name: {} for name in PRECISIONS}
    for n, k, m in QUICK_SHAPES if quick else SHAPES:
        jobs = {name: _product(n, k, m, kind, device) for name, kind in PRECISIONS.items()}
        for name, time in interleaved(jobs, device, least=3, seconds=0.2 if quick else 1.0).items():
            # Peak is what the hardware can do at all, so here the best time counts, not the median.
            by_shape[name][f"{n}x{k}x{m}"] = 2 * n * k * m * _TIMES / time.fastest
    return Peak({name: max(rates.values()) for name, rates in by_shape.items()}, by_shape)


# Products per timing, so that starting them costs nothing.
_TIMES = 4


def _product(n: int, k: int, m: int, kind: torch.dtype, device: torch.device) -> Callable[[], None]:
    left = torch.randn(n, k, device=device, dtype=kind)
    right = torch.randn(k, m, device=device, dtype=kind)
    out = torch.empty(n, m, device=device, dtype=kind)

    def job() -> None:
        for _ in range(_TIMES):
            torch.mm(left, right, out=out)

    return job


def counted_flops(job: Callable[[], object]) -> int:
    """Floating-point operations of all matrix products of a job, whichever path asks for them."""
    counter = FlopCounterMode(display=False)
    with counter:
        job()
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class QueryCost:
    """Operations of one query, forward, without what a crystal needs once.

    Attributes:
        position: of the position field.
        species: of the species field.
    """

    position: int
    species: int

    @classmethod
    def of(cls, settings: NetworkSettings, n_elements: int) -> "QueryCost":
        """By the widths of the layers; z's share of the first layer is the crystal's, not the query's."""
        return cls(_field(settings, settings.position_field, 3), _field(settings, settings.species_field, n_elements))


def _field(settings: NetworkSettings, widths: tuple[int, ...], outputs: int) -> int:
    query = 3 if settings.query_encoding == "raw" else 60
    fan_in = [query, *(width + query for width in widths[:-1])]
    last = widths[-1] + (query if settings.query_at_last else 0)
    return 2 * (sum(n * m for n, m in zip(fan_in, widths, strict=True)) + last * outputs)
