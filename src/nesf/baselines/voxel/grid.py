"""Crystals as voxel grids: a density of Gaussians, the species of each voxel, and ramps that carry the cell's lengths.

The grid of a crystal has its axes along x, y and z, and its edges are those of the cell and a padding on both sides.
Angles are ignored: an atom stands at its fractional coordinates times (a, b, c), as if the cell were a box.
"""

from dataclasses import dataclass
from math import pi
from typing import Literal

import torch
from torch import Tensor

from nesf import lattice
from nesf.baselines.voxel.radii import ionic_radii
from nesf.crystal import CrystalBatch
from nesf.errors import NesfError
from nesf.shapes import Float, Int

# Voxels that are worked on together: bounds the memory, and on a processor keeps them in its cache.
VOXELS_AT_ONCE = {"cpu": 1 << 18, "cuda": 1 << 24}


@dataclass(frozen=True)
class GridSettings:
    """How crystals are put on a grid and found in it again.

    The ball of an atom has the radius max(``label_fraction`` times the mean ionic radius, ``label_voxels`` times the
    longest edge of a voxel). As published it is the ionic radius; half of it and 1.5 voxels keeps balls from touching.

    Attributes:
        size: voxels along each axis; the networks halve it four times.
        padding: how far the grid extends beyond the cell on each side, in lengths of the cell.
        label_fraction: radius of an atom's ball in mean ionic radii.
        label_voxels: least radius of an atom's ball in voxel edges.
        angles: which cell the atoms found are put into: one with right angles always (published), or one whose
            angles are known from elsewhere ("true").
    """

    size: int = 32
    padding: float = 0.25
    label_fraction: float = 1.0
    label_voxels: float = 0.0
    angles: Literal["right", "true"] = "right"

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 16:
            raise NesfError(f"A grid of {self.size} voxels along an axis cannot be halved four times; use 16, 32, ...")
        if self.padding < 0 or self.label_fraction < 0 or self.label_voxels < 0:
            raise NesfError(f"Padding and label radii are lengths; {self} has a negative one.")

    def edges(self, lengths: Float[Tensor, "*any 3"]) -> Float[Tensor, "*any 3"]:
        """Edges of a voxel (angstrom) in cells of these lengths (angstrom)."""
        return lengths * ((1 + 2 * self.padding) / self.size)


PUBLISHED = GridSettings()
"""As in the original method."""


@dataclass(frozen=True)
class Voxels:
    """The grids of some crystals; array axes are x, y, z.

    Attributes:
        density: (n, d, d, d) Gaussians that integrate to the atomic number, electrons per cubic angstrom, float32.
        labels: (n, d, d, d) atomic number in the ball of an atom, 0 elsewhere, uint8.
        lengths: (n, 3) a, b, c in angstrom, float32.
        padding: that of the ``GridSettings``.
    """

    density: Float[Tensor, "n d d d"]
    labels: Tensor
    lengths: Float[Tensor, "n 3"]
    padding: float = 0.25

    def __len__(self) -> int:
        return len(self.lengths)

    def grids(self) -> Float[Tensor, "n 4 d d d"]:
        """What a network sees: the density and three ramps from 0, each the distance along its axis (angstrom)."""
        n, size = len(self), self.density.shape[-1]
        steps = torch.arange(size, device=self.lengths.device) * ((1 + 2 * self.padding) / size)
        ramps = self.lengths.unsqueeze(2) * steps
        grids = self.density.new_empty((n, 4, size, size, size))
        grids[:, 0] = self.density
        grids[:, 1] = ramps[:, 0, :, None, None]
        grids[:, 2] = ramps[:, 1, None, :, None]
        grids[:, 3] = ramps[:, 2, None, None, :]
        return grids

    def select(self, index: Int[Tensor, " chosen"]) -> "Voxels":
        """The chosen crystals, in the order of ``index``."""
        return Voxels(self.density[index], self.labels[index], self.lengths[index], self.padding)


@torch.no_grad()
def voxelise(batch: CrystalBatch, settings: GridSettings) -> Voxels:
    """The grids of crystals, on the device of the batch; memory beyond the result is bounded.

    Raises:
        NesfError: where an element has no class.
    """
    size = settings.size
    lengths, _ = batch.parameters()
    density = lengths.new_empty((len(batch), size, size, size))
    labels = torch.empty_like(density, dtype=torch.uint8)
    # By falling number of atoms, so that crystals which have a j-th atom stand together.
    order = batch.counts.argsort(descending=True, stable=True)
    most = max(1, VOXELS_AT_ONCE.get(batch.device.type, VOXELS_AT_ONCE["cpu"]) // size**3)
    for index in order.split(most):
        atoms = _Atoms.of(batch.select(index), settings)
        there = index.to(batch.device)
        density[there] = atoms.density()
        labels[there] = atoms.labels()
    return Voxels(density, labels, lengths, settings.padding)


@dataclass(frozen=True)
class _Atoms:
    """Atoms as rectangles, crystals with more atoms first; where there is no atom, number 0 at infinity.

    Attributes:
        numbers: (n, most) atomic numbers.
        sigmas: (n, most) mean ionic radii, angstrom.
        radii: (n, most) radii of the balls, angstrom.
        squares: (n, most, 3, d) squared distance from the atom to each layer of voxels along each axis.
        counts: (n,) atoms of each crystal, falling, on the CPU.
    """

    numbers: Int[Tensor, "n most"]
    sigmas: Float[Tensor, "n most"]
    radii: Float[Tensor, "n most"]
    squares: Float[Tensor, "n most 3 d"]
    counts: Int[Tensor, " n"]

    @classmethod
    def of(cls, batch: CrystalBatch, settings: GridSettings) -> "_Atoms":
        lengths, _ = batch.parameters()
        edges = settings.edges(lengths)
        frac = lattice.cart_to_frac(batch.cart.unsqueeze(1), batch.cells[batch.owner]).squeeze(1)
        box = CrystalBatch(batch.numbers, frac * lengths[batch.owner], batch.counts, batch.cells)
        positions, numbers = box.padded()
        layers = torch.arange(settings.size, device=batch.device) + 0.5
        centres = edges.unsqueeze(2) * layers - settings.padding * lengths.unsqueeze(2)
        squares = (positions.unsqueeze(3) - centres.unsqueeze(1)).square()
        sigmas = ionic_radii(numbers)
        least = settings.label_voxels * edges.amax(1, keepdim=True)
        return cls(numbers, sigmas, torch.maximum(settings.label_fraction * sigmas, least), squares, batch.counts)

    def density(self) -> Float[Tensor, "n d d d"]:
        """Sum of Gaussians; each is a product of three, one along each axis."""
        weights = self.numbers * (2 * pi) ** -1.5 / self.sigmas**3
        x, y, z = (self.squares / (-2 * self.sigmas[..., None, None].square())).exp().unbind(2)
        planes = ((weights.unsqueeze(2) * x).unsqueeze(3) * y.unsqueeze(2)).flatten(2)  # (n, most, d * d)
        return (planes.mT @ z).unflatten(1, x.shape[-1:] * 2)

    def labels(self) -> Tensor:
        """(n, d, d, d) uint8: the element of the one ball around a voxel; where balls overlap, of the nearest atom."""
        size = self.squares.shape[-1]
        nearest = self.squares.new_full((len(self.counts), size, size, size), torch.inf)
        inside, element, only = (torch.zeros_like(nearest, dtype=torch.uint8) for _ in range(3))
        for j in range(self.numbers.shape[1]):
            have = int((self.counts > j).sum())
            x, y, z = self.squares[:have, j].unbind(1)
            distance = (x[:, :, None, None] + y[:, None, :, None]) + z[:, None, None, :]
            number = self.numbers[:have, j, None, None, None].to(torch.uint8)
            ball = distance < self.radii[:have, j, None, None, None].square()
            closer = distance < nearest[:have]
            nearest[:have] = torch.minimum(nearest[:have], distance)
            element[:have] = torch.where(closer, number, element[:have])
            only[:have] = torch.where(ball, number, only[:have])
            inside[:have] += ball
        return torch.where(inside > 1, element, only)
