"""Training of preset ``paper`` as its text reads: the reference that the package's training is timed against.

Written as one writes it in PyTorch without thinking of speed, yet without waste: a loop over crystals that samples
queries and finds nearest atoms, a batch made by concatenation, float32, plain autograd, Adam.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nesf.bench.literal_network import LiteralNetwork
from nesf.crystal import Crystal
from nesf.elements import Vocabulary
from nesf.fields.grids import Box, box_grid, local_grid
from nesf.fields.sampling import LocalSampling
from nesf.model import NetworkSettings
from nesf.shapes import Float, Int
from nesf.training import LossSettings, SamplingSettings


@dataclass(frozen=True)
class Example:
    """One crystal with its queries and the true values there; or several, one after the other.

    Attributes:
        cart: atoms, angstrom.
        classes: class of each atom in the vocabulary.
        atoms: number of atoms of each crystal.
        lattices: a, b, c (angstrom), alpha, beta, gamma (radians) of each crystal.
        position_points: queries of the position field, angstrom.
        position_counts: their number in each crystal.
        vectors: from each of them to its nearest atom, angstrom.
        species_points: queries of the species field, angstrom.
        species_counts: their number in each crystal.
        species: class of the atom nearest to each of them.
    """

    cart: Float[Tensor, "n_atoms 3"]
    classes: Int[Tensor, " n_atoms"]
    atoms: list[int]
    lattices: Float[Tensor, "n_crystals 6"]
    position_points: Float[Tensor, "n_position 3"]
    position_counts: list[int]
    vectors: Float[Tensor, "n_position 3"]
    species_points: Float[Tensor, "n_species 3"]
    species_counts: list[int]
    species: Int[Tensor, " n_species"]

    @classmethod
    def collate(cls, examples: Sequence["Example"], device: torch.device | str = "cpu") -> "Example":
        """A batch: everything one crystal after the other."""
        values: dict[str, Any] = {}
        for name in cls.__dataclass_fields__:
            parts = [getattr(example, name) for example in examples]
            flat = isinstance(parts[0], list)
            values[name] = list(chain.from_iterable(parts)) if flat else torch.cat(parts).to(device)
        return cls(**values)

    @property
    def queries(self) -> int:
        """Queries of both fields."""
        return len(self.position_points) + len(self.species_points)


class LiteralTraining:
    """Trains the literal network.

    Args:
        crystals: training crystals.
        vocabulary: the elements of the network.
        network: its widths.
        sampling: grids and noise, with all grid points.
        loss: weights of the losses.
        box: box of the training atoms, angstrom.
        batch: crystals per step.
        device: where the network computes; queries are sampled on the processor.
        seed: of weights, order and noise.
    """

    def __init__(
        self,
        crystals: Sequence[Crystal],
        vocabulary: Vocabulary,
        network: NetworkSettings,
        sampling: SamplingSettings,
        loss: LossSettings,
        *,
        box: Box,
        batch: int,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.network = LiteralNetwork(network, len(vocabulary)).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-3)
        self.generator = torch.Generator().manual_seed(seed)
        self.sampling, self.loss, self.batch, self.device = sampling, loss, batch, device
        lower, upper = torch.tensor(box[0]), torch.tensor(box[1])
        interval = sampling.position_global.interval
        self.global_grid = box_grid(lower - interval, upper + interval, interval)
        self.local_grids = [local_grid(s.interval, s.width) for s in (sampling.position_local, sampling.species_local)]
        self.atoms = [torch.tensor(crystal.cart, dtype=torch.float32) for crystal in crystals]
        self.classes = [vocabulary.class_of(torch.tensor(crystal.numbers)) for crystal in crystals]
        self.lattices = [
            torch.tensor([[*crystal.lengths, *crystal.angles_rad]], dtype=torch.float32) for crystal in crystals
        ]

    def epoch(self) -> tuple[int, int]:
        """Go through the crystals once; how many crystals and how many queries that was."""
        crystals = queries = 0
        order = torch.randperm(len(self.atoms), generator=self.generator)
        for index in order.split(self.batch):
            example = Example.collate([self.example(i) for i in index.tolist()], self.device)
            self.step(example)
            crystals, queries = crystals + len(index), queries + example.queries
        return crystals, queries

    def example(self, index: int) -> Example:
        """Sample queries of one crystal and find the nearest atom of each."""
        cart, classes = self.atoms[index], self.classes[index]
        everywhere = self._noisy(self.global_grid, self.sampling.position_global.sigma)
        around = self._around(cart, self.local_grids[0], self.sampling.position_local)
        position = torch.cat((everywhere, around))
        species = self._around(cart, self.local_grids[1], self.sampling.species_local)
        vectors = cart[nearest(position, cart)] - position
        return Example(
            cart,
            classes,
            [len(cart)],
            self.lattices[index],
            position,
            [len(position)],
            vectors,
            species,
            [len(species)],
            classes[nearest(species, cart)],
        )

    def step(self, batch: Example) -> float:
        """One step of the optimiser; the loss before it."""
        self.network.train()
        self.optimizer.zero_grad()
        loss = literal_loss(self.network, batch, self.loss)["total"]
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _around(self, cart: Tensor, grid: Tensor, settings: LocalSampling) -> Tensor:
        return self._noisy((cart.unsqueeze(1) + grid).reshape(-1, 3), settings.sigma)

    def _noisy(self, points: Tensor, sigma: float) -> Tensor:
        return points + sigma * torch.randn(points.shape, generator=self.generator)


def nearest(points: Float[Tensor, "n 3"], atoms: Float[Tensor, "n_atoms 3"]) -> Int[Tensor, " n"]:
    """Index of the atom nearest to each point, by the matrix of all distances."""
    return (points.unsqueeze(1) - atoms).norm(dim=2).argmin(1)


def literal_loss(network: LiteralNetwork, batch: Example, weights: LossSettings) -> dict[str, Tensor]:
    """The four losses of a batch and their weighted total (paper, equation 2)."""
    one_hot = functional.one_hot(batch.classes, network.n_elements).to(batch.cart.dtype)
    z = network.encoder(batch.cart, one_hot, batch.atoms, batch.lattices)
    z_position = torch.cat([row.repeat(n, 1) for row, n in zip(z, batch.position_counts, strict=True)])
    z_species = torch.cat([row.repeat(n, 1) for row, n in zip(z, batch.species_counts, strict=True)])
    parts = {
        "position": functional.mse_loss(network.position_field(z_position, batch.position_points), batch.vectors),
        "species": functional.cross_entropy(network.species_field(z_species, batch.species_points), batch.species),
        "length": functional.mse_loss(network.length_head(z), batch.lattices[:, :3]),
        "angle": functional.mse_loss(network.angle_head(z), batch.lattices[:, 3:]),
    }
    total = (
        weights.position * parts["position"]
        + weights.species * parts["species"]
        + weights.length * parts["length"]
        + weights.angle * parts["angle"]
    )
    return parts | {"total": total}
