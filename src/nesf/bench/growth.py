"""How time grows: with the atoms per cell, the crystals, the queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from nesf.bench.decoding_speed import decoding
from nesf.bench.effort import Effort
from nesf.bench.timing import interleaved
from nesf.bench.workload import drawn, mean_atoms
from nesf.codec import Codec
from nesf.crystal import Crystal

BINS = (1, 3, 5, 7, 9, 13, 17, 1000)
"""Cells with so many atoms, up to one less than the next number, are measured together."""


@dataclass(frozen=True)
class Series:
    """Times against a size.

    Attributes:
        title: what happens.
        size: what the size counts.
        time: what the time is of.
        points: size and seconds.
    """

    title: str
    size: str
    time: str
    points: tuple[tuple[float, float], ...]


def growth(codec: Codec, crystals: Sequence[Crystal], effort: Effort) -> tuple[Series, ...]:
    """Three short series of decoding."""
    return _by_atoms(codec, crystals, effort), _by_crystals(codec, crystals, effort), _by_queries(codec, effort)


def _by_atoms(codec: Codec, crystals: Sequence[Crystal], effort: Effort) -> Series:
    groups = [[c for c in crystals if low <= len(c) < high] for low, high in pairwise(BINS)]
    jobs, sizes = {}, {}
    for group in filter(None, groups):
        some = drawn(group, effort.chunk)
        name = f"{mean_atoms(some):.3f}"
        jobs[name], sizes[name] = decoding(codec, some), mean_atoms(some)
    times = interleaved(jobs, codec.device, least=effort.rounds)
    points = tuple((sizes[name], time.seconds / effort.chunk) for name, time in times.items())
    return Series("decoding a crystal", "atoms per cell", "seconds per crystal", points)


def _by_crystals(codec: Codec, crystals: Sequence[Crystal], effort: Effort) -> Series:
    jobs = {str(n): decoding(codec, drawn(crystals, n)) for n in effort.growth}
    times = interleaved(jobs, codec.device, least=effort.rounds)
    points = tuple((float(name), time.seconds) for name, time in times.items())
    return Series("decoding many crystals", "crystals", "seconds", points)


def _by_queries(codec: Codec, effort: Effort) -> Series:
    # Any latent vectors will do: the work at a point does not depend on them.
    n_crystals, random = 64, np.random.default_rng(0)
    z = torch.from_numpy(random.standard_normal((n_crystals, codec.latent)).astype(np.float32))
    field = codec.model.decode_field(z.to(codec.device)).frozen()
    jobs = {}
    for n in effort.queries:
        points = torch.from_numpy(random.uniform(0, 6, (n, 3)).astype(np.float32)).to(codec.device)
        owner = (torch.arange(n, device=codec.device) * n_crystals) // n
        jobs[str(n)] = lambda points=points, owner=owner: field.displacement(points, owner)
    with torch.no_grad():
        times = interleaved(jobs, codec.device, least=effort.rounds)
    points_seconds = tuple((float(name), time.seconds) for name, time in times.items())
    return Series("asking the position field", "queries", "seconds", points_seconds)
