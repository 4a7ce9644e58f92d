"""Where a field is queried in training: the paper's global and local grids, with Gaussian noise."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from nesf.crystal import CrystalBatch
from nesf.errors import NesfError
from nesf.fields.grids import Box, box_grid, local_grid
from nesf.shapes import Float, Int


@dataclass(frozen=True)
class GlobalSampling:
    """Queries all over the cell.

    Attributes:
        interval: grid spacing, angstrom.
        sigma: standard deviation of the noise added to each coordinate, angstrom.
        per_crystal: None for every point of one grid over the box of the training atoms, grown by one
            interval on each side; or this many points per crystal, uniform in the crystal's own cell.
    """

    interval: float = 1.0
    sigma: float = 0.5
    per_crystal: int | None = None

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class LocalSampling:
    """Queries around the atoms.

    Attributes:
        interval: grid spacing, angstrom.
        width: edge of the cube around each atom that the grid fills, angstrom.
        sigma: standard deviation of the noise added to each coordinate, angstrom.
        per_crystal: None for every point of the grid around every atom; or this many per crystal, the
            atoms taken in turn and a random grid point each time.
    """

    interval: float
    width: float
    sigma: float
    per_crystal: int | None = None

    def __post_init__(self) -> None:
        _check(self)


def _check(settings: GlobalSampling | LocalSampling) -> None:
    if not settings.interval > 0 or not settings.sigma >= 0:
        raise NesfError(f"Sampling needs a positive interval and no negative sigma, not {settings}.")
    if settings.per_crystal is not None and settings.per_crystal < 1:
        raise NesfError(f"Sampling needs at least one query per crystal, not {settings.per_crystal}.")


@dataclass(frozen=True)
class Queries:
    """Points to query, ordered by crystal.

    Attributes:
        points: (n, 3) Cartesian, angstrom.
        owner: (n,) index of the crystal of each point, ascending.
        per_crystal: the number of points of every crystal where it is the same for all, else None.
    """

    points: Float[Tensor, "n 3"]
    owner: Int[Tensor, " n"]
    per_crystal: int | None

    def joined(self, other: "Queries") -> "Queries":
        """Both sets of queries, crystal by crystal."""
        if self.per_crystal is not None and other.per_crystal is not None:
            widths = (self.per_crystal, other.per_crystal)
            points = [q.points.reshape(-1, width, 3) for q, width in zip((self, other), widths, strict=True)]
            owners = [q.owner.reshape(-1, width) for q, width in zip((self, other), widths, strict=True)]
            return Queries(torch.cat(points, 1).flatten(0, 1), torch.cat(owners, 1).flatten(), sum(widths))
        owner = torch.cat((self.owner, other.owner))
        order = owner.argsort(stable=True)
        return Queries(torch.cat((self.points, other.points))[order], owner[order], None)

    def of(self, start: int, stop: int) -> "Queries":
        """The queries of crystals ``start`` to ``stop``, which are then counted from 0."""
        if self.per_crystal is not None:
            part = slice(start * self.per_crystal, stop * self.per_crystal)
        else:  # a GPU is waited for here; only a team with full grids comes this way
            first, last = torch.searchsorted(self.owner, torch.tensor([start, stop], device=self.owner.device)).tolist()
            part = slice(first, last)
        return Queries(self.points[part], self.owner[part] - start, self.per_crystal)


def global_queries(
    batch: CrystalBatch, settings: GlobalSampling, box: Box | None, generator: torch.Generator | None
) -> Queries:
    """Global grid sampling (paper, section 2.2).

    Args:
        batch: the crystals.
        settings: grid and noise.
        box: lower and upper corner of the training atoms, angstrom; needed for the full grid.
        generator: source of randomness; None leaves out the noise, for repeatable validation. Random
            points in the cell then come from a generator of their own, seeded with 0.
    """
    if settings.per_crystal is None:
        if box is None:
            raise NesfError("A global grid needs the box of the training atoms; it was not given.")
        grid = _everywhere(box, settings.interval, batch.device)
        count = len(grid)
        points = grid.repeat(len(batch), 1)
    else:
        count = settings.per_crystal
        source = generator or torch.Generator(batch.device).manual_seed(0)
        frac = torch.rand(len(batch), count, 3, generator=source, device=batch.device)
        points = (frac @ batch.cells).reshape(-1, 3)
    owner = torch.arange(len(batch), device=batch.device).repeat_interleave(count)
    return Queries(_jittered(points, settings.sigma, generator), owner, count)


def local_queries(batch: CrystalBatch, settings: LocalSampling, generator: torch.Generator | None) -> Queries:
    """Local grid sampling (paper, section 2.2); arguments as for ``global_queries``."""
    grid = _around_atoms(settings.interval, settings.width, batch.device)
    count = settings.per_crystal
    if count is None:
        points = (batch.cart.unsqueeze(1) + grid).reshape(-1, 3)
        owner = batch.owner.repeat_interleave(len(grid))
    else:
        source = generator or torch.Generator(batch.device).manual_seed(0)
        size = (len(batch), count)
        turn = torch.rand(len(batch), 1, generator=source, device=batch.device)
        counts = batch.counts.to(batch.device, non_blocking=True).unsqueeze(1)
        slot = torch.arange(count, device=batch.device) + (turn * counts).long()
        atom = counts.cumsum(0) - counts + slot % counts
        offset = torch.randint(len(grid), size, generator=source, device=batch.device)
        points = (batch.cart[atom] + grid[offset]).reshape(-1, 3)
        owner = torch.arange(len(batch), device=batch.device).repeat_interleave(count)
    return Queries(_jittered(points, settings.sigma, generator), owner, count)


# Made once for each device: a GPU would be waited for at every step.
@cache
def _everywhere(box: Box, interval: float, device: torch.device) -> Tensor:
    lower, upper = (torch.tensor(corner) for corner in box)
    return box_grid(lower - interval, upper + interval, interval).to(device)


@cache
def _around_atoms(interval: float, width: float, device: torch.device) -> Tensor:
    return local_grid(interval, width).to(device)


def _jittered(points: Tensor, sigma: float, generator: torch.Generator | None) -> Tensor:
    if generator is None or sigma == 0:
        return points
    noise = torch.randn(points.shape, generator=generator, device=points.device, dtype=points.dtype)
    return points + sigma * noise
